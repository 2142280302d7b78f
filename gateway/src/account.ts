/** Downloads of a user's own data, streamed from the owning subgraph: security events and state. */
import { AppError } from "@continuo/errors";
import type { FastifyInstance } from "fastify";
import type { Writable } from "node:stream";
import { assertMet } from "./access-policy/access-policy.ts";
import { type Demand, SIGNED_IN } from "./access-policy/demand.ts";
import type { Admissions } from "./caller.ts";
import { admit } from "./front.ts";
import type { NetworkOf } from "./rate-limit/network.ts";
import type { RateLimits } from "./rate-limit/rate-limits.ts";
import type { SessionStream, StreamRegistry } from "./revocation/stream-registry.ts";
import type { SubgraphClient } from "./subgraph/subgraph-client.ts";

/** The same demand that the graph declares for comparable fields. */
const DEMAND: Demand = { ...SIGNED_IN, scopes: [[["account"]]], isRecent: true };

type Owner = Pick<SubgraphClient, "stream">;

/**
 * Serves GET /account/security-events and /account/state to users who signed in recently enough
 * (STEP_UP_REQUIRED/AUTHENTICATION_TOO_OLD, RFC 9470); the owning subgraph checks again. A download breaks off when its
 * session ends.
 */
export function serveAccount(
  http: FastifyInstance,
  options: {
    session: Owner;
    userState: Owner;
    admissions: Admissions;
    rates: Pick<RateLimits, "operation">;
    networkOf: NetworkOf;
    registry: Pick<StreamRegistry, "add" | "remove">;
  },
): void {
  const { session, userState, rates, networkOf, registry } = options;
  /** One download per user and kind at a time: a slow reader holds one of the few connections for them. */
  const underWay = new Set<string>();

  for (const [name, owner] of [
    ["security-events", session],
    ["state", userState],
  ] as const) {
    const path = `/account/${name}`;
    http.get(path, async (request, reply) => {
      const { caller, claims } = await admit(options, request, path);
      await rates.operation({ sessionId: claims?.sid, network: networkOf(request.raw) });
      assertMet(DEMAND, claims, Date.now() / 1_000);
      const key = `${name} ${claims?.sub}`;
      if (underWay.has(key))
        throw new AppError(
          "RATE_LIMITED",
          "EXPORT_UNDER_WAY",
          "Another export of yours is still being read: finish it first.",
        );
      const taken = claims && exportOf(claims, reply.raw);
      if (taken) registry.add(taken);

      underWay.add(key);
      const leave = (): void => {
        underWay.delete(key);
        if (taken) registry.remove(taken);
      };
      reply.raw.once("close", leave);
      if (reply.raw.destroyed) leave();
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

/**
 * A download that is cut off cannot say why. The client sees from how it ends that it is incomplete, and gets the
 * reason at its next request.
 */
function exportOf(session: SessionStream["session"], response: Writable): SessionStream {
  return {
    transport: "EXPORT",
    session,
    end() {
      if (response.destroyed) return false;
      response.destroy();
      return true;
    },
  };
}
