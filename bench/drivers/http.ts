/** Repeats the same request, a different one for each worker. */
import { z } from "zod";
import type { Driver } from "../load-protocol.ts";
import { HttpRequest } from "../peers/peer.ts";
import { openHttpClient } from "./http-client.ts";

const Options = z.object({ origin: z.string(), requests: z.array(HttpRequest).min(1) });

export async function openDriver(options: unknown, workers: number): Promise<Driver> {
  const { origin, requests } = Options.parse(options);
  const client = openHttpClient(origin, workers);
  return {
    async operate(worker) {
      const request = requests[worker % requests.length];
      if (request) await client.send(request);
    },
    [Symbol.asyncDispose]: () => client[Symbol.asyncDispose](),
  };
}
