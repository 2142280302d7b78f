/**
 * Forward authentication: identifies a request's sender for a reverse proxy that asks on behalf of services outside the
 * graph (nginx auth_request, Traefik forwardAuth, Envoy ext_authz). A bearer token needs no call to a database or a
 * subgraph.
 */
import { AppError } from "@continuo/errors";
import type { FastifyInstance } from "fastify";
import type { Admissions } from "./caller.ts";
import { admit } from "./front.ts";
import type { NetworkOf } from "./rate-limit/network.ts";

const PATH = "/auth/check";

/**
 * Serves GET /auth/check: 204 with the caller in x-continuo-* headers, 401 with a challenge, or 503 when that cannot be
 * determined. A DPoP proof must be for GET and this very URL, because no header says reliably which request the proxy
 * received. The proxy must overwrite the client's x-continuo-* headers with these.
 */
export function serveCheck(http: FastifyInstance, door: { admissions: Admissions; networkOf: NetworkOf }): void {
  http.get(PATH, async (request, reply) => {
    const { caller } = await admit(door, request, PATH);
    if (caller.kind === "anonymous") throw new AppError("UNAUTHENTICATED", "SIGN_IN_REQUIRED", "Sign in first.");
    const { userId, sessionId, deviceId, applicationId, acr } = caller.viewer;
    const who = {
      "x-continuo-user": userId,
      "x-continuo-session": sessionId,
      "x-continuo-device": deviceId,
      "x-continuo-application": applicationId,
      "x-continuo-acr": acr,
    };
    return reply.code(204).headers(who).send();
  });
}
