/** Repeats the same query, one person per worker. */
import { z } from "zod";
import type { Driver } from "../load-protocol.ts";
import { openGraphQLClient, WireRequest } from "./graphql-client.ts";

const Options = z.object({ url: z.string(), requests: z.array(WireRequest).min(1) });

export async function openDriver(options: unknown, workers: number): Promise<Driver> {
  const { url, requests } = Options.parse(options);
  const client = openGraphQLClient(url, workers);
  const [first] = requests;
  return {
    async operate(worker) {
      const request = requests[worker % requests.length] ?? first;
      if (request) await client.post(request);
    },
    [Symbol.asyncDispose]: () => client[Symbol.asyncDispose](),
  };
}
