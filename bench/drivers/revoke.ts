/**
 * Signs devices out one at a time: from sending the mutation to the close of the device's socket.
 * Before each turn, as many devices are supplied as it signs out, so that the number of sockets stays the same.
 */
import type { WebSocket } from "ws";
import { z } from "zod";
import type { Driver } from "../load-protocol.ts";
import { dataOf, SIGN_OUT_DEVICE, STATE_CHANGES } from "../operations.ts";
import { inTurn } from "../people.ts";
import { openGraphQLClient, wireRequest } from "./graphql-client.ts";
import { closedByRevocation, openSubscription } from "./live-socket.ts";

/** A device with a socket, and the access token of a session that may sign it out. */
const Watcher = z.object({ accessToken: z.string(), deviceId: z.string(), revokerToken: z.string() });
const Options = z.object({ url: z.string(), watchers: z.array(Watcher) });

interface Victim extends z.infer<typeof Watcher> {
  readonly socket: WebSocket;
}

export async function openDriver(options: unknown): Promise<Driver> {
  const { url, watchers } = Options.parse(options);
  const client = openGraphQLClient(url, 8);
  const socketUrl = url.replace(/^http/, "ws");
  const watch = (of: readonly z.infer<typeof Watcher>[]): Promise<Victim[]> =>
    inTurn(of.length, async (index) => {
      const watcher = Watcher.parse(of[index]);
      return { ...watcher, socket: await openSubscription(socketUrl, watcher.accessToken, STATE_CHANGES.query) };
    });

  const connected = await watch(watchers);
  return {
    async prepare(supply) {
      connected.push(...(await watch(z.array(Watcher).parse(supply))));
    },
    async operate() {
      const victim = connected.shift();
      if (!victim) throw new RangeError("nobody is left to sign out");
      const closed = closedByRevocation(victim.socket);
      const sent = performance.now();
      const request = wireRequest(SIGN_OUT_DEVICE, { id: victim.deviceId }, victim.revokerToken);
      const [answer, tookMs] = await Promise.all([client.post(request), closed.then(() => performance.now() - sent)]);
      dataOf(SIGN_OUT_DEVICE, answer);
      return tookMs;
    },
    async [Symbol.asyncDispose]() {
      for (const { socket } of connected) socket.terminate();
      await client[Symbol.asyncDispose]();
    },
  };
}
