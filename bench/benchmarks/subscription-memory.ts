import { setTimeout as pause } from "node:timers/promises";
import { z } from "zod";
import { startChild, type Child } from "../child.ts";
import type { Benchmark, Contender } from "../contender.ts";
import { openGraphQLClient } from "../drivers/graphql-client.ts";
import { inspectable, memoryOf, type Inspectable } from "../inspector.ts";
import { Tally } from "../load-protocol.ts";
import type { Turn } from "../measure.ts";
import { startSessions } from "../people.ts";
import { freePort } from "../rooms.ts";
import type { Subject } from "../subject.ts";

const SOCKETS = 10_000;
/** Below the limit of 32 per session. */
const SOCKETS_EACH = 25;
const PEOPLE = 40;
const CYCLES = 4_000;
const AT_ONCE = 16;
const CONNECTIONS = 8;
/** By then the server has released what has ended. */
const SETTLE_MS = 2_000;

/** Memory that each of many open subscriptions costs the process that serves it. */
export const subscriptionMemory: Benchmark = {
  name: "subscription-memory",
  what: () => `${SOCKETS} open sockets with a subscription each, told nothing: bytes of each, garbage collected`,
  async open(subject, _effort, stack) {
    const inspectorPort = await freePort();
    const bare = stack.use(
      await startChild(
        new URL("../yardsticks/bare-ws.ts", import.meta.url),
        { databaseUrl: subject.databaseUrl },
        z.string(),
        inspectable(inspectorPort),
      ),
    );
    const tokens = await tokensFor(subject, SOCKETS / SOCKETS_EACH);
    return [
      await holding("continuo", subject.inspected, { url: socketUrlOf(subject), tokens }, stack),
      await holding("ws", { pid: bare.pid, inspectorPort }, { url: bare.ready }, stack),
    ];
  },
};

/** Memory that a finished subscription leaves behind in the process that served it: ideally none. */
export const connectAndLeave: Benchmark = {
  name: "connect-and-leave",
  what: ({ rounds }) =>
    `${CYCLES} subscriptions a round, ${rounds * CYCLES} in all, each opened and left: bytes that stay, of each`,
  async open(subject, _effort, stack) {
    const load = await startLoad(
      "come-and-go",
      AT_ONCE,
      { url: socketUrlOf(subject), tokens: await tokensFor(subject, AT_ONCE) },
      stack,
    );
    let before: number | undefined;
    return [
      {
        name: "continuo",
        async turn(): Promise<Turn> {
          await load.ask({ operations: CYCLES }, Tally);
          await pause(SETTLE_MS);
          const { heap } = await memoryOf(subject.inspected);
          const grown = heap - (before ?? heap);
          before = heap;
          return { "heap MiB": heap / 2 ** 20, "bytes/cycle": grown / CYCLES };
        },
      },
    ];
  },
};

/** Opens the sockets once; each turn measures again what they hold. */
async function holding(
  name: string,
  server: Inspectable,
  options: unknown,
  stack: AsyncDisposableStack,
): Promise<Contender> {
  const before = await memoryOf(server);
  await startLoad("hold", SOCKETS, options, stack);
  return {
    name,
    async turn() {
      await pause(SETTLE_MS);
      const { heap, resident } = await memoryOf(server);
      return {
        "heap bytes": (heap - before.heap) / SOCKETS,
        ...(resident !== undefined &&
          before.resident !== undefined && {
            "resident bytes": (resident - before.resident) / SOCKETS,
          }),
      };
    },
  };
}

async function startLoad(
  driver: string,
  workers: number,
  options: unknown,
  stack: AsyncDisposableStack,
): Promise<Child<null>> {
  const program = new URL(`../drivers/${driver}.ts`, import.meta.url).href;
  return stack.use(
    await startChild(new URL("../load.ts", import.meta.url), { driver: program, workers, options }, z.null()),
  );
}

async function tokensFor(subject: Subject, sessions: number): Promise<string[]> {
  await using client = openGraphQLClient(subject.graphqlUrl, CONNECTIONS);
  const people = Math.min(PEOPLE, sessions);
  const started = await startSessions(client, subject, { people, sessionsEach: sessions / people });
  return started.flat().map(({ accessToken }) => accessToken);
}

function socketUrlOf({ graphqlUrl }: Subject): string {
  return graphqlUrl.replace(/^http/, "ws");
}
