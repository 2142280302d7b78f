/**
 * Signs devices out one after the other: from the moment the mutation is sent to the moment the device's socket closes.
 * Before each turn those that were signed out sign in again, so that as many sockets are connected as before.
 */
import type { WebSocket } from "ws";
import { z } from "zod";
import type { Driver } from "../load-protocol.ts";
import { dataOf, SIGN_OUT_DEVICE, STATE_CHANGES } from "../operations.ts";
import { inTurn, signIn, signUpPeople, type SignedIn } from "../people.ts";
import { openGraphQLClient, wireRequest } from "./graphql-client.ts";
import { closedByRevocation, openSubscription } from "./live-socket.ts";

const Options = z.object({ url: z.string(), people: z.number(), devicesEach: z.number() });

interface Victim {
  socket: WebSocket;
  readonly device: SignedIn;
  readonly revoker: SignedIn;
}

export async function openDriver(options: unknown): Promise<Driver> {
  const { url, people, devicesEach } = Options.parse(options);
  const client = openGraphQLClient(url, 8);
  const socketUrl = url.replace(/^http/, "ws");
  const watch = (device: SignedIn): Promise<WebSocket> =>
    openSubscription(socketUrl, device.accessToken, STATE_CHANGES.query);

  const revokers = await signUpPeople(client, people);
  const revokerSockets = await Promise.all(revokers.map(watch));
  const connected: Victim[] = await inTurn(people * (devicesEach - 1), async (index) => {
    const revoker = own(revokers, index % people);
    const device = await signIn(client, revoker.email);
    return { revoker, device, socket: await watch(device) };
  });
  const signedOut: Victim[] = [];

  return {
    async prepare() {
      const back = signedOut.splice(0);
      const again = await inTurn(back.length, async (index) => {
        const { revoker, device: before } = own(back, index);
        const device = await signIn(client, revoker.email, before.deviceId);
        return { revoker, device, socket: await watch(device) };
      });
      connected.push(...again);
    },
    async operate() {
      const victim = connected.shift();
      if (!victim) throw new RangeError("nobody is left to sign out");
      const closed = closedByRevocation(victim.socket);
      const sent = performance.now();
      const request = wireRequest(SIGN_OUT_DEVICE, { id: victim.device.deviceId }, victim.revoker.accessToken);
      const [answer, tookMs] = await Promise.all([client.post(request), closed.then(() => performance.now() - sent)]);
      dataOf(SIGN_OUT_DEVICE, answer);
      signedOut.push(victim);
      return tookMs;
    },
    async [Symbol.asyncDispose]() {
      for (const socket of [...revokerSockets, ...connected.map(({ socket }) => socket)]) socket.terminate();
      await client[Symbol.asyncDispose]();
    },
  };
}

function own<Item>(items: readonly Item[], index: number): Item {
  const item = items[index];
  if (item === undefined) throw new RangeError("there are not that many");
  return item;
}
