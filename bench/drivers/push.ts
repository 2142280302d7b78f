/** One replica per worker, pushing its next changes; each must be settled as APPLIED. */
import { z } from "zod";
import type { Driver } from "../load-protocol.ts";
import { dataOf, PUSH } from "../operations.ts";
import { nextChanges, pushInput, Replica } from "../replica.ts";
import { openGraphQLClient, wireRequest } from "./graphql-client.ts";

const Options = z.object({ url: z.string(), replicas: z.array(Replica), opsPerPush: z.number() });

export async function openDriver(options: unknown, workers: number): Promise<Driver> {
  const { url, replicas, opsPerPush } = Options.parse(options);
  const client = openGraphQLClient(url, workers);
  return {
    async operate(worker) {
      const replica = replicas[worker];
      if (!replica) throw new RangeError("each worker needs a replica of its own");
      const now = Date.now();
      const input = pushInput(replica, nextChanges(replica.lastSeq, opsPerPush, now), now);
      const { pushState } = dataOf(PUSH, await client.post(wireRequest(PUSH, { input }, replica.accessToken)));
      const applied = pushState.outcomes.filter(({ status }) => status === "APPLIED").length;
      if (applied !== opsPerPush) throw new Error(`of ${opsPerPush} changes ${applied} were applied`);
      replica.lastSeq = pushState.lastSeq;
      replica.headRev = pushState.headRev;
    },
    [Symbol.asyncDispose]: () => client[Symbol.asyncDispose](),
  };
}
