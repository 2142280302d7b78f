import { z } from "zod";
import { startChild } from "../child.ts";
import { openContender, type Benchmark } from "../contender.ts";
import { query } from "../subject.ts";
import { CREATE_CLOSED_SOCKETS } from "../yardsticks/statements.ts";

const PEOPLE = 20;
const DEVICES_EACH = 10;
const SOCKETS = PEOPLE * DEVICES_EACH;
const REVOCATIONS = 50;

/** From the request that signs a device out to the close of its socket, one after the other. */
export const revokeToClose: Benchmark = {
  name: "revoke-to-close",
  what: () => `${REVOCATIONS} sign-outs a round, one after the other, ${SOCKETS} sockets connected`,
  async open(subject, _effort, stack) {
    const { databaseUrl, graphqlUrl } = subject;
    await query(databaseUrl, CREATE_CLOSED_SOCKETS);
    const bare = stack.use(
      await startChild(new URL("../yardsticks/bare-ws.ts", import.meta.url), { databaseUrl }, z.string()),
    );
    const one = { workers: 1, bound: { operations: REVOCATIONS }, measures: "latency" } as const;
    return [
      stack.use(
        await openContender(subject, {
          ...one,
          name: "continuo",
          driver: "revoke",
          options: { url: graphqlUrl, people: PEOPLE, devicesEach: DEVICES_EACH },
        }),
      ),
      stack.use(
        await openContender(subject, {
          ...one,
          name: "ws + NOTIFY",
          driver: "raw-revoke",
          options: { url: bare.ready, databaseUrl, sockets: SOCKETS },
        }),
      ),
    ];
  },
};
