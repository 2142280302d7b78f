import { z } from "zod";
import { startChild } from "../child.ts";
import { openContender, type Benchmark } from "../contender.ts";
import { openGraphQLClient } from "../drivers/graphql-client.ts";
import { openReplicas, startSessions } from "../people.ts";
import { query } from "../subject.ts";
import { CREATE_TOLD } from "../yardsticks/statements.ts";

/** Below the limit of 32 per session. */
const SOCKETS_EACH = 25;
const CONNECTIONS = 8;

/** One change sent to `sockets` sockets: how long until each of them has it. */
const fanOutTo = (sockets: number, name: string): Benchmark => ({
  name,
  what: () => `one change a round, told to ${sockets} sockets of the person's other devices`,
  async open(subject, _effort, stack) {
    const { databaseUrl, graphqlUrl } = subject;
    await query(databaseUrl, CREATE_TOLD);
    const bare = stack.use(
      await startChild(new URL("../yardsticks/bare-ws.ts", import.meta.url), { databaseUrl }, z.string()),
    );
    await using client = openGraphQLClient(graphqlUrl, CONNECTIONS);
    const [person = []] = await startSessions(client, subject, {
      people: 1,
      sessionsEach: 1 + sockets / SOCKETS_EACH,
    });
    const [replica] = await openReplicas(client, person.slice(0, 1), 1);
    const others = person.slice(1).map(({ accessToken }) => accessToken);
    const all = { workers: sockets, bound: { operations: sockets }, measures: "latency" } as const;
    return [
      stack.use(
        await openContender(subject, {
          ...all,
          name: "continuo",
          driver: "fan-out",
          options: { url: graphqlUrl, replica, others },
        }),
      ),
      stack.use(
        await openContender(subject, {
          ...all,
          name: "ws + NOTIFY",
          driver: "raw-fan-out",
          options: { url: bare.ready, databaseUrl },
        }),
      ),
    ];
  },
});

export const gatewayFanOutToFew = fanOutTo(500, "gateway-fan-out-500");
export const gatewayFanOut = fanOutTo(5_000, "gateway-fan-out-5000");
