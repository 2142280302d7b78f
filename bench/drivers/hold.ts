/** Idle open sockets, with a subscription each or plain. An operation does nothing: the open sockets are what is measured. */
import { z } from "zod";
import type { Driver } from "../load-protocol.ts";
import { STATE_CHANGES } from "../operations.ts";
import { inTurn } from "../people.ts";
import { openSocket, openSubscription } from "./live-socket.ts";

/** The URL, and the access tokens that the sockets share; without tokens the sockets are plain. */
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
