import type { Benchmark } from "../contender.ts";
import { openGraphQLClient } from "../drivers/graphql-client.ts";
import { REVOKE } from "../operations.ts";
import { openPeer } from "../peers/open-peer.ts";
import type { HttpRequest } from "../peers/peer.ts";
import { APPLICATION, startSessions } from "../people.ts";
import { openFloor } from "../yardsticks/open-floor.ts";
import { graphqlRequest, openOnce, OPERATIONS_ONCE } from "./sessions.ts";

const SESSIONS_EACH = 4;
const FORM = { "content-type": "application/x-www-form-urlencoded" };

/** One session ended for good; the answer means a durable commit (RFC 7009 where the contender supports it). */
export const revoke: Benchmark = {
  name: "revoke",
  what: ({ workers }) => `${OPERATIONS_ONCE} sessions ended a round, ${workers} at once`,
  async open(subject, effort, stack) {
    const opening = { subject, effort, stack };
    const { databaseUrl, origin } = subject;
    const client = stack.use(openGraphQLClient(subject.graphqlUrl, effort.workers));
    const people = OPERATIONS_ONCE / SESSIONS_EACH;
    const floor = await openFloor(subject, stack);
    const betterAuth = await openPeer(
      "better-auth",
      { databaseUrl, cookieCache: false, refreshEachTime: false },
      stack,
    );
    const oidc = await openPeer("oidc-provider", { databaseUrl }, stack);
    // Interleaved, since nobody ends four of their own sessions at the same moment.
    const sessions = async () => {
      const each = await startSessions(client, subject, { people, sessionsEach: SESSIONS_EACH });
      return Array.from({ length: SESSIONS_EACH }, (_, turn) =>
        each.flatMap((own) => own.slice(turn, turn + 1)),
      ).flat();
    };

    return [
      await openOnce(opening, {
        name: "continuo",
        origin,
        processes: subject.processes,
        supply: async () =>
          (await sessions()).map(({ refreshToken }): HttpRequest => ({
            method: "POST",
            path: "/oauth/revoke",
            headers: FORM,
            body: `client_id=${APPLICATION}&token=${refreshToken}`,
            expect: "",
          })),
      }),
      await openOnce(opening, {
        name: "node:http + pg",
        origin: new URL(floor.url).origin,
        processes: { server: [floor.pid] },
        supply: async () =>
          (await sessions()).map(({ sessionId, accessToken }) =>
            graphqlRequest(REVOKE, { sessionId }, { accessToken, expect: '"revoked":true' }),
          ),
      }),
      await openOnce(opening, {
        name: "better-auth",
        origin: betterAuth.origin,
        processes: { server: [betterAuth.pid] },
        // Each person's first session ends the others.
        supply: () => betterAuth.requests({ what: "revoke", people, sessions: SESSIONS_EACH + 1 }),
      }),
      await openOnce(opening, {
        name: "oidc-provider",
        origin: oidc.origin,
        processes: { server: [oidc.pid] },
        supply: () => oidc.requests({ what: "revoke", people: OPERATIONS_ONCE, sessions: 1 }),
      }),
    ];
  },
};
