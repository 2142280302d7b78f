import { AppError } from "@continuo/errors";
import type { FastifyInstance } from "fastify";
import type { Admissions } from "../caller.ts";
import { assertMayChange } from "../dpop/proofs.ts";
import { admit } from "../front.ts";
import type { NetworkOf } from "../rate-limit/network.ts";
import type { RateLimits } from "../rate-limit/rate-limits.ts";
import type { Tickets } from "./tickets.ts";

const PATH = "/graphql/ticket";

/**
 * Serves POST /graphql/ticket: `{ ticket, expiresIn }` for a signed-in caller. A token bound to a key needs a proof
 * with a nonce of this gateway, as a mutation does, because the ticket stands for the key.
 */
export function serveTickets(
  http: FastifyInstance,
  options: { admissions: Admissions; tickets: Tickets; rates: Pick<RateLimits, "operation">; networkOf: NetworkOf },
): void {
  const { tickets, rates, networkOf } = options;
  http.post(PATH, async (request, reply) => {
    const { claims, proof } = await admit(options, request, PATH);
    if (!claims) throw new AppError("UNAUTHENTICATED", "SIGN_IN_REQUIRED", "Sign in first.");
    if (proof) assertMayChange(proof);
    await rates.operation({ sessionId: claims.sid, network: networkOf(request.raw) });
    return reply.send(await tickets.issue(claims));
  });
}
