/** What a person may take away as a file, streamed from its owner: their security events, and their state. */
import type { FastifyInstance } from "fastify";
import type { Admissions } from "./caller.ts";
import { admit } from "./front.ts";
import type { SubgraphClient } from "./subgraph/subgraph-client.ts";

type Owner = Pick<SubgraphClient, "stream">;

/**
 * Serves GET /account/security-events and /account/state. The owner decides whether the caller has signed in recently enough
 * (STEP_UP_REQUIRED/AUTHENTICATION_TOO_OLD, RFC 9470).
 */
export function serveAccount(
  http: FastifyInstance,
  options: { session: Owner; userState: Owner; admissions: Admissions },
): void {
  const { session, userState, admissions } = options;
  for (const [name, owner] of [
    ["security-events", session],
    ["state", userState],
  ] as const) {
    const path = `/account/${name}`;
    http.get(path, async (request, reply) => {
      const { caller } = await admit(admissions, request, path);
      const { body, contentType } = await owner.stream(path, { caller, requestId: request.id });
      return reply
        .headers({
          "content-type": contentType ?? "application/octet-stream",
          "content-disposition": `attachment; filename="${name}.ndjson"`,
        })
        .send(body);
    });
  }
}
