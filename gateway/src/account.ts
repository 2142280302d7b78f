/** What a person may take away as a file: their own record of security events, streamed from its owner. */
import type { FastifyInstance } from "fastify";
import type { Admissions } from "./caller.ts";
import { admit } from "./front.ts";
import type { SubgraphClient } from "./subgraph/subgraph-client.ts";

const PATH = "/account/security-events";

/**
 * Serves GET /account/security-events. Session decides whether the caller has signed in recently enough
 * (STEP_UP_REQUIRED/AUTHENTICATION_TOO_OLD, RFC 9470).
 */
export function serveAccount(
  http: FastifyInstance,
  options: { session: Pick<SubgraphClient, "stream">; admissions: Admissions },
): void {
  const { session, admissions } = options;
  http.get(PATH, async (request, reply) => {
    const { caller } = await admit(admissions, request, PATH);
    const { body, contentType } = await session.stream(PATH, { caller, requestId: request.id });
    return reply
      .headers({
        "content-type": contentType ?? "application/octet-stream",
        "content-disposition": 'attachment; filename="security-events.ndjson"',
      })
      .send(body);
  });
}
