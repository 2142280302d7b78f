/**
 * The public side of the OAuth endpoints: checks the DPoP proof, forwards the form to session, and returns session's
 * answer. Session decides who the client is and what its tokens allow. Answers are OAuth's, never GraphQL errors.
 */
import type { Caller } from "@continuo/access";
import { AppError, isAppError, toOAuthRefusal } from "@continuo/errors";
import type { FastifyInstance, FastifyRequest } from "fastify";
import { z } from "zod";
import { withNetwork } from "../caller.ts";
import type { Proofs } from "../dpop/proofs.ts";
import { retryAfter } from "../errors.ts";
import type { NetworkOf } from "../rate-limit/network.ts";
import type { RateLimits } from "../rate-limit/rate-limits.ts";
import { logRefusal } from "../refusals.ts";
import type { Scope, SubgraphClient } from "../subgraph/subgraph-client.ts";
import { INTROSPECTION_PATH, metadataOf, metadataPathOf, REVOCATION_PATH, TOKEN_PATH } from "./metadata.ts";

/** The content type that OAuth clients post (RFC 6749 appendix B). */
const FORM_TYPE = "application/x-www-form-urlencoded";
const FORM_LIMIT_BYTES = 16 * 1024;
const METADATA_MAX_AGE_SECONDS = 300;

/** Session's name for each endpoint. */
const ENDPOINTS = { [TOKEN_PATH]: "TOKEN", [REVOCATION_PATH]: "REVOCATION", [INTROSPECTION_PATH]: "INTROSPECTION" };
/** A mutation hidden from clients: `@inaccessible`. */
const ANSWER = `mutation AnswerOAuth($endpoint: OAuthEndpoint!, $form: String!, $authorization: String) {
  answerOAuth(endpoint: $endpoint, form: $form, authorization: $authorization) { status body challenge }
}`;
const Answered = z.object({
  answerOAuth: z.object({ status: z.int(), body: z.string(), challenge: z.string().nullable() }),
});

/** A form as a client posted it. */
interface PostedForm {
  readonly endpoint: string;
  readonly form: string;
  /** The Authorization header, if the client authenticates with one. */
  readonly authorization: string | undefined;
}

/** Serves the three endpoints and their metadata. `publicUrl` is where clients reach this gateway. */
export async function serveOAuth(
  http: FastifyInstance,
  options: {
    session: Pick<SubgraphClient, "graphql">;
    proofs: Pick<Proofs, "check">;
    issuer: string;
    publicUrl: () => string;
    keysPath: string;
    rates: Pick<RateLimits, "operation">;
    networkOf: NetworkOf;
  },
): Promise<void> {
  const { session, proofs, issuer, publicUrl, keysPath, rates, networkOf } = options;

  /**
   * Only the token endpoint binds tokens to a key (RFC 9449 section 5); its proofs must carry a nonce of this gateway.
   */
  async function callerOf({ method, headers, raw }: FastifyRequest, path: string): Promise<Caller> {
    const caller = withNetwork({ kind: "anonymous" }, networkOf(raw));
    if (path !== TOKEN_PATH || headers.dpop === undefined) return caller;
    const { jkt } = await proofs.check({ method, path, proof: String(headers.dpop), nonceRequired: true });
    return { ...caller, jkt };
  }

  async function ask(variables: PostedForm, scope: Scope): Promise<z.output<typeof Answered>["answerOAuth"]> {
    const operation = { query: ANSWER, variables: { ...variables }, operationName: "AnswerOAuth" };
    const { data, errors } = await session.graphql(operation, scope);
    if (data) return Answered.parse(data).answerOAuth;
    const [error] = errors;
    if (!error) throw new Error("session answered nothing");
    throw new AppError(error.extensions.code, error.extensions.reason, error.message);
  }

  await http.register(async (scope) => {
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser<string>(
      FORM_TYPE,
      { parseAs: "string", bodyLimit: FORM_LIMIT_BYTES },
      (_request, text, done) => done(null, text),
    );
    scope.setErrorHandler((thrown, request, reply) => {
      const error = asAppError(thrown);
      if (error.code === "INTERNAL_SERVER_ERROR")
        request.log.error({ err: thrown, requestId: request.id }, "request failed");
      else logRefusal(request.log, error, { requestId: request.id });
      const { status, body } = toOAuthRefusal(error);
      return reply.code(status).headers(retryAfter(error.details)).send(body);
    });
    for (const [path, endpoint] of Object.entries(ENDPOINTS)) {
      scope.post<{ Body: unknown }>(path, async (request, reply) => {
        // Not limited: introspection, which one server calls on behalf of many users, and revocation, which only gives
        // up a token.
        if (path === TOKEN_PATH) await rates.operation({ network: networkOf(request.raw) });
        const caller = await callerOf(request, path);
        const form = typeof request.body === "string" ? request.body : "";
        const { authorization } = request.headers;
        const answer = await ask({ endpoint, form, authorization }, { caller, requestId: request.id });
        if (answer.body !== "") void reply.header("content-type", "application/json; charset=utf-8");
        if (answer.challenge !== null) void reply.header("www-authenticate", answer.challenge);
        return reply.code(answer.status).send(answer.body);
      });
    }
  });

  http.get(metadataPathOf(issuer), async (_request, reply) =>
    reply
      .header("cache-control", `public, max-age=${METADATA_MAX_AGE_SECONDS}`)
      .send(metadataOf({ issuer, publicUrl: publicUrl(), keysPath })),
  );
}

function asAppError(thrown: unknown): AppError {
  if (isAppError(thrown)) return thrown;
  const status =
    typeof thrown === "object" && thrown !== null && "statusCode" in thrown ? Number(thrown.statusCode) : 500;
  if (status >= 400 && status < 500)
    return new AppError(
      "BAD_USER_INPUT",
      "REQUEST_INVALID",
      `The request is not a form (${FORM_TYPE}) of at most 16 KiB.`,
    );
  return new AppError("INTERNAL_SERVER_ERROR", "UNEXPECTED", "Something went wrong on our side.", { cause: thrown });
}
