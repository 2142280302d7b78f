import { z } from "zod";
import { openContender, type Benchmark } from "../contender.ts";
import { openGraphQLClient } from "../drivers/graphql-client.ts";
import { openPeer } from "../peers/open-peer.ts";
import { APPLICATION, startSessions, type SignedIn } from "../people.ts";
import { query } from "../subject.ts";
import { openFloor } from "../yardsticks/open-floor.ts";
import { openRepeated, type Opening } from "./sessions.ts";

/** Refresh tokens exchanged for their successors: one durable write, one signature. */
export const refresh: Benchmark = {
  name: "refresh",
  what: ({ workers }) => `refresh tokens rotated, ${workers} sessions at once`,
  async open(subject, effort, stack) {
    const opening: Opening = { subject, effort, stack };
    const { workers } = effort;
    const { databaseUrl } = subject;
    await using client = openGraphQLClient(subject.graphqlUrl, workers);
    const signIn = async (): Promise<SignedIn[]> =>
      (await startSessions(client, subject, { people: workers, sessionsEach: 1 })).flat();
    const floor = await openFloor(subject, stack);
    const grants = await grantsOf(databaseUrl, await signIn());
    const floors = (await grantsOf(databaseUrl, await signIn())).map(({ id, generation }) =>
      floor.refreshToken(id, generation),
    );
    const refreshTokens = async (): Promise<string[]> => (await signIn()).map(({ refreshToken }) => refreshToken);
    const betterAuth = await openPeer("better-auth", { databaseUrl, cookieCache: false, refreshEachTime: true }, stack);
    const oidc = await openPeer("oidc-provider", { databaseUrl }, stack);
    const bound = { seconds: effort.seconds };

    return [
      stack.use(
        await openContender(subject, {
          name: "continuo",
          driver: "oauth-refresh",
          options: {
            origin: subject.origin,
            path: "/oauth/token",
            clientId: APPLICATION,
            refreshTokens: await refreshTokens(),
          },
          workers,
          bound,
          processes: subject.processes,
        }),
      ),
      stack.use(
        await openContender(subject, {
          name: "node:http + pg",
          driver: "refresh",
          options: { url: floor.url, refreshTokens: floors },
          workers,
          bound,
          processes: { server: [floor.pid] },
        }),
      ),
      stack.use(
        await openContender(subject, {
          name: "pg alone",
          driver: "raw-statements",
          options: { statement: "rotate", grants, databaseUrl },
          workers,
          bound,
        }),
      ),
      // It has no refresh tokens: instead it extends its session row and writes it back.
      await openRepeated(opening, {
        name: "better-auth",
        origin: betterAuth.origin,
        processes: { server: [betterAuth.pid] },
        requests: await betterAuth.requests({ what: "check", people: workers, sessions: 1 }),
      }),
      stack.use(
        await openContender(subject, {
          name: "oidc-provider",
          driver: "oauth-refresh",
          options: {
            origin: oidc.origin,
            path: "/token",
            clientId: "public-client",
            refreshTokens: await oidc.refreshTokens(workers),
          },
          workers,
          bound,
          processes: { server: [oidc.pid] },
        }),
      ),
    ];
  },
};

const Grant = z.object({ id: z.string(), generation: z.number() });

async function grantsOf(databaseUrl: string, people: readonly SignedIn[]): Promise<z.infer<typeof Grant>[]> {
  const sessionIds = people.map(({ sessionId }) => sessionId);
  const sql = "SELECT id, generation FROM session.grants WHERE session_id = ANY($1) AND state = 'ACTIVE'";
  return z
    .array(Grant)
    .length(people.length)
    .parse(await query(databaseUrl, sql, [sessionIds]));
}
