/** Sockets that are open and told nothing: with a subscription each, or plain. An operation does nothing: they are what is measured. */
import { z } from "zod";
import type { Driver } from "../load-protocol.ts";
import { STATE_CHANGES } from "../operations.ts";
import { inTurn } from "../people.ts";
import { openSocket, openSubscription } from "./live-socket.ts";

/** Where; and the access tokens that share the sockets, without which they are plain. */
const Options = z.object({ url: z.string(), tokens: z.array(z.string()).optional() });

export async function openDriver(options: unknown, workers: number): Promise<Driver> {
  const { url, tokens } = Options.parse(options);
  const sockets = await inTurn(workers, (index) =>
    tokens
      ? openSubscription(url, tokens[index % tokens.length] ?? "", STATE_CHANGES.query)
      : openSocket(`${url}/${index}`),
  );
  return {
    operate: async () => undefined,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.terminate();
    },
  };
}
