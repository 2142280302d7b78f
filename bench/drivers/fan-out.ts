/** A change to one person's state, and all their sockets: from sending the push to each socket having it. */
import { z } from "zod";
import type { Driver } from "../load-protocol.ts";
import { dataOf, PUSH, STATE_CHANGES } from "../operations.ts";
import { inTurn } from "../people.ts";
import { nextChanges, pushInput, Replica } from "../replica.ts";
import { openGraphQLClient, wireRequest } from "./graphql-client.ts";
import { openSubscription } from "./live-socket.ts";
import { openWaves } from "./waves.ts";

/** The replica that changes, and the access tokens of the person's other devices, which share the sockets. */
const Options = z.object({ url: z.string(), replica: Replica, others: z.array(z.string()).min(1) });

export async function openDriver(options: unknown, workers: number): Promise<Driver> {
  const { url, replica, others } = Options.parse(options);
  const client = openGraphQLClient(url, 1);
  const sockets = await inTurn(workers, (index) =>
    openSubscription(url.replace(/^http/, "ws"), others[index % others.length] ?? "", STATE_CHANGES.query),
  );
  let planned = replica.lastSeq;
  const operate = openWaves(sockets, () => {
    const [change] = nextChanges(planned, 1, 0);
    planned += 1;
    return { value: change?.payload.value ?? "", send };
  });

  async function send(): Promise<void> {
    const now = Date.now();
    const input = pushInput(replica, nextChanges(replica.lastSeq, 1, now), now);
    const answer = await client.post(wireRequest(PUSH, { input }, replica.accessToken));
    const { lastSeq, headRev } = dataOf(PUSH, answer).pushState;
    if (lastSeq !== replica.lastSeq + 1) throw new Error("the change was not settled");
    Object.assign(replica, { lastSeq, headRev });
  }

  return {
    operate,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.terminate();
      await client[Symbol.asyncDispose]();
    },
  };
}
