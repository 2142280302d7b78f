/** Requests that take effect only once: as many as a turn needs are supplied before it. */
import { z } from "zod";
import type { Driver } from "../load-protocol.ts";
import { HttpRequest } from "../peers/peer.ts";
import { openHttpClient } from "./http-client.ts";

const Options = z.object({ origin: z.string() });

export async function openDriver(options: unknown, workers: number): Promise<Driver> {
  const client = openHttpClient(Options.parse(options).origin, workers);
  let waiting: HttpRequest[] = [];
  return {
    async prepare(supply) {
      waiting = z.array(HttpRequest).parse(supply);
    },
    async operate() {
      const request = waiting.pop();
      if (!request) throw new RangeError("nothing is left to do");
      await client.send(request);
    },
    [Symbol.asyncDispose]: () => client[Symbol.asyncDispose](),
  };
}
