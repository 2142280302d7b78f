/** Opens a socket with a subscription, waits for its first event, and leaves: every other time without closing properly. */
import { once } from "node:events";
import { z } from "zod";
import type { Driver } from "../load-protocol.ts";
import { STATE_CHANGES } from "../operations.ts";
import { openSubscription } from "./live-socket.ts";

const Options = z.object({ url: z.string(), tokens: z.array(z.string()).min(1) });

export async function openDriver(options: unknown): Promise<Driver> {
  const { url, tokens } = Options.parse(options);
  let come = 0;
  return {
    async operate() {
      come += 1;
      const isPolite = come % 2 === 0;
      const socket = await openSubscription(url, tokens[come % tokens.length] ?? "", STATE_CHANGES.query);
      const closed = once(socket, "close");
      if (isPolite) socket.close(1000);
      else socket.terminate();
      await closed;
    },
    [Symbol.asyncDispose]: async () => undefined,
  };
}
