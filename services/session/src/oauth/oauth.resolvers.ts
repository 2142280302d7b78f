/** The OAuth endpoints: a form in, one use case, JSON out; refusals follow RFC 6749 section 5.2. */
import { AppError, isAppError, toOAuthRefusal } from "@continuo/errors";
import { isOutage, parseInput } from "@continuo/subgraph";
import { z } from "zod";
import { clientInvalid } from "../application/client-authentication.ts";
import type { Context } from "../context.ts";
import type { OAuthAnswer, OAuthEndpoint, Resolvers } from "../generated/graphql.ts";
import { credentialsOf, parseForm } from "./client-request.ts";
import type { ClientRequest, OAuth } from "./oauth.ts";

const MAX_FORM = 16 * 1024;
const Input = z.object({ form: z.string().max(MAX_FORM), authorization: z.string().max(MAX_FORM).nullish() });

const ENDPOINTS = {
  TOKEN: (oauth: OAuth, request: ClientRequest) => oauth.token(request),
  REVOCATION: (oauth: OAuth, request: ClientRequest) => oauth.revoke(request),
  INTROSPECTION: (oauth: OAuth, request: ClientRequest) => oauth.introspect(request),
} satisfies Record<OAuthEndpoint, (oauth: OAuth, request: ClientRequest) => Promise<unknown>>;

export const oauthResolvers: Resolvers = {
  Mutation: {
    answerOAuth: async (_root, { endpoint, ...args }, context) => {
      const { form: text, authorization } = parseInput(Input, args);
      try {
        const form = parseForm(text);
        const credentials = credentialsOf(authorization ?? undefined, form);
        if (credentials === undefined) throw clientInvalid("it says nothing of itself");
        const client = await context.authenticateClient(credentials);
        const { jkt, ipPrefix, logger } = context;
        const result = await ENDPOINTS[endpoint](context.oauth, { client, form, jkt, ipPrefix, logger });
        return { status: 200, body: result === undefined ? "" : JSON.stringify(result), challenge: null };
      } catch (thrown) {
        return refuse(thrown, { endpoint, hasTriedBasic: authorization != null }, context);
      }
    },
  },
};

function refuse(
  thrown: unknown,
  { endpoint, hasTriedBasic }: { endpoint: OAuthEndpoint; hasTriedBasic: boolean },
  { logger }: Context,
): OAuthAnswer {
  const fault = asAppError(thrown);
  if (fault.code === "INTERNAL_SERVER_ERROR") logger.error({ err: thrown }, "request failed");
  else logger.info({ code: fault.code, reason: fault.reason, why: whyOf(fault) }, "refused");
  const { status, body } = toOAuthRefusal(fault);
  const refusal = { status, body: JSON.stringify(body), challenge: null };
  if (body.error !== "invalid_client") return refusal;
  // RFC 6749 section 5.2: challenge only clients that tried Basic; for others, a browser would prompt for a password.
  // Browsers do not introspect, and RFC 7662 section 2.3 requires 401 there.
  return hasTriedBasic || endpoint === "INTROSPECTION"
    ? { ...refusal, challenge: 'Basic realm="oauth"' }
    : { ...refusal, status: 400 };
}

/** The cause for our log: the answer is the same for every fault of client authentication. */
function whyOf({ reason, cause }: AppError): string | undefined {
  if (reason !== "CLIENT_INVALID" || !(cause instanceof Error)) return undefined;
  return cause.cause instanceof Error ? `${cause.message}: ${cause.cause.message}` : cause.message;
}

function asAppError(thrown: unknown): AppError {
  if (isAppError(thrown)) return thrown;
  if (isOutage(thrown))
    return new AppError("UNAVAILABLE", "DEPENDENCY_UNAVAILABLE", "A part of the service cannot be reached right now.");
  return new AppError("INTERNAL_SERVER_ERROR", "UNEXPECTED", "Something went wrong on our side.");
}
