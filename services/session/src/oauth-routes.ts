/** The OAuth endpoints over HTTP: form in, one use case, JSON out; refusals as RFC 6749 section 5.2 has them. */
import { circumstancesOf } from "@continuo/access";
import { AppError, isAppError, toOAuthRefusal } from "@continuo/errors";
import type { Logger } from "@continuo/process";
import { isOutage, type SubgraphOptions } from "@continuo/subgraph";
import {
  clientInvalid,
  type AuthenticatedClient,
  type ClientCredentials,
} from "./application/client-authentication.ts";
import type { Context } from "./context.ts";
import { credentialsOf, parseForm } from "./oauth/client-request.ts";
import type { ClientRequest, OAuth } from "./oauth/oauth.ts";

type Routes = NonNullable<SubgraphOptions<Context>["routes"]>;

const FORM_LIMIT_BYTES = 16 * 1024;
const FORM = "application/x-www-form-urlencoded";

/** Wires the routes; they are for the gateway, which says whose key came with a request. */
export function createOAuthRoutes(options: {
  oauth: OAuth;
  authenticate: (credentials: ClientCredentials) => Promise<AuthenticatedClient>;
  logger: Logger;
}): Routes {
  const { oauth, authenticate, logger } = options;

  return (http, callerOf) => {
    void http.register(async (scope) => {
      scope.removeAllContentTypeParsers();
      scope.addContentTypeParser<string>(
        FORM,
        { parseAs: "string", bodyLimit: FORM_LIMIT_BYTES },
        (_request, body, done) => done(null, body),
      );
      scope.setErrorHandler((thrown, request, reply) => {
        const fault = asAppError(thrown);
        if (fault.code === "INTERNAL_SERVER_ERROR")
          request.log.error({ err: thrown, requestId: request.id }, "request failed");
        else
          logger.info({ code: fault.code, reason: fault.reason, why: whyOf(fault), requestId: request.id }, "refused");
        const { status, body } = toOAuthRefusal(fault);
        if (body.error !== "invalid_client") return reply.code(status).send(body);
        // RFC 6749 section 5.2: the challenge is for whoever tried that way; others would have a browser ask for a password.
        if (request.headers.authorization === undefined) return reply.code(400).send(body);
        return reply.code(status).header("www-authenticate", 'Basic realm="oauth"').send(body);
      });

      const serve = (path: string, answer: (request: ClientRequest) => Promise<unknown>): void => {
        scope.post(path, { onRequest: async (request) => void (await callerOf(request)) }, async (request, reply) => {
          const form = parseForm(typeof request.body === "string" ? request.body : "");
          const credentials = credentialsOf(request.headers.authorization, form);
          if (credentials === undefined) throw clientInvalid("it says nothing of itself");
          const client = await authenticate(credentials);
          const { jkt, ipPrefix } = circumstancesOf(await callerOf(request));
          const result = await answer({ client, form, jkt, ipPrefix, logger: logger.child({ requestId: request.id }) });
          return reply.header("cache-control", "no-store").send(result);
        });
      };
      serve("/oauth/token", (request) => oauth.token(request));
      serve("/oauth/revoke", (request) => oauth.revoke(request));
      serve("/oauth/introspect", (request) => oauth.introspect(request));
    });
  };
}

/** What the answer does not say: all that is wrong with a client's authentication has one answer. */
function whyOf({ reason, cause }: AppError): string | undefined {
  if (reason !== "CLIENT_INVALID" || !(cause instanceof Error)) return undefined;
  return cause.cause instanceof Error ? `${cause.message}: ${cause.cause.message}` : cause.message;
}

function asAppError(thrown: unknown): AppError {
  if (isAppError(thrown)) return thrown;
  if (isOutage(thrown))
    return new AppError("UNAVAILABLE", "DEPENDENCY_UNAVAILABLE", "A part of the service cannot be reached right now.");
  const status =
    typeof thrown === "object" && thrown !== null && "statusCode" in thrown ? Number(thrown.statusCode) : 500;
  if (status >= 400 && status < 500)
    return new AppError("BAD_USER_INPUT", "REQUEST_INVALID", `The request is not a form (${FORM}) of at most 16 KiB.`);
  return new AppError("INTERNAL_SERVER_ERROR", "UNEXPECTED", "Something went wrong on our side.");
}
