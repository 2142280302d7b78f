import { z } from "zod";
import { startChild } from "../child.ts";
import { openContender, type Benchmark } from "../contender.ts";
import { openGraphQLClient } from "../drivers/graphql-client.ts";
import { signInAgain, startSessions } from "../people.ts";
import { query } from "../subject.ts";
import { CREATE_CLOSED_SOCKETS } from "../yardsticks/statements.ts";

const SOCKETS_EACH = 10;
const REVOCATIONS = 50;
const CONNECTIONS = 8;

/** From the request that signs a device out to the close of its socket, one at a time, among `sockets` sockets. */
const revokeToCloseAmong = (sockets: number, name: string): Benchmark => ({
  name,
  what: () => `${REVOCATIONS} sign-outs a round, one after the other, ${sockets} sockets connected`,
  async open(subject, _effort, stack) {
    const { databaseUrl, graphqlUrl } = subject;
    await query(databaseUrl, CREATE_CLOSED_SOCKETS);
    const bare = stack.use(
      await startChild(new URL("../yardsticks/bare-ws.ts", import.meta.url), { databaseUrl }, z.string()),
    );
    const client = stack.use(openGraphQLClient(graphqlUrl, CONNECTIONS));
    const people = sockets / SOCKETS_EACH;
    const revokers = (await startSessions(client, subject, { people, sessionsEach: 1 })).flat();
    let place = 0;
    /** New devices of those people, each with the access token of a session that may sign it out. */
    const watchers = async (count: number): Promise<unknown[]> => {
      const owners = Array.from({ length: count }, (_, index) => revokers[(place + index) % people] ?? revokers[0]);
      place += count;
      const chosen = owners.filter((owner) => owner !== undefined);
      const signedIn = await signInAgain(
        client,
        subject,
        chosen.map(({ userId }) => userId),
      );
      return signedIn.map(({ accessToken, deviceId }, index) => {
        return { accessToken, deviceId, revokerToken: chosen[index]?.accessToken };
      });
    };
    const one = { workers: 1, bound: { operations: REVOCATIONS }, measures: "latency" } as const;
    return [
      stack.use(
        await openContender(subject, {
          ...one,
          name: "continuo",
          driver: "revoke",
          options: { url: graphqlUrl, watchers: await watchers(sockets - REVOCATIONS) },
          supply: () => watchers(REVOCATIONS),
        }),
      ),
      stack.use(
        await openContender(subject, {
          ...one,
          name: "ws + NOTIFY",
          driver: "raw-revoke",
          options: { url: bare.ready, databaseUrl, sockets },
        }),
      ),
    ];
  },
});

export const revokeToClose = revokeToCloseAmong(1_000, "revoke-to-close");
export const revokeToCloseAmongFew = revokeToCloseAmong(200, "revoke-to-close-200");
