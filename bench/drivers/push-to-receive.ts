/** A change to a person's state: from sending one device's push to another device's socket having it. */
import { z } from "zod";
import type { Driver } from "../load-protocol.ts";
import { dataOf, PUSH, STATE_CHANGES } from "../operations.ts";
import { inTurn } from "../people.ts";
import { nextChanges, pushInput, Replica } from "../replica.ts";
import { openGraphQLClient, wireRequest } from "./graphql-client.ts";
import { openOperations, openSubscription, receives } from "./live-socket.ts";

/** `others` are access tokens of each person's other devices: the first is the reader, the rest are just connected. */
const Options = z.object({
  url: z.string(),
  replicas: z.array(Replica),
  others: z.array(z.array(z.string()).min(1)),
  /** How the author pushes: over HTTP, or over its open socket. */
  over: z.enum(["HTTP", "SOCKET"]),
});

export async function openDriver(options: unknown): Promise<Driver> {
  const { url, replicas, others, over } = Options.parse(options);
  const socketUrl = url.replace(/^http/, "ws");
  const tokens = others.flat();
  const opened = await inTurn(tokens.length, (index) =>
    openSubscription(socketUrl, tokens[index] ?? "", STATE_CHANGES.query),
  );
  const readers = others.map(([first]) => opened[tokens.indexOf(first ?? "")]);
  const http = openGraphQLClient(url, 1);
  const sockets =
    over === "SOCKET"
      ? await inTurn(replicas.length, (index) => openOperations(socketUrl, replicas[index]?.accessToken ?? ""))
      : undefined;
  let made = 0;
  return {
    async operate() {
      const place = made % replicas.length;
      const [replica, reader, author] = [replicas[place], readers[place], sockets ? sockets[place] : http];
      made += 1;
      if (!replica || !reader || !author) throw new RangeError("each replica needs another device");
      const now = Date.now();
      const changes = nextChanges(replica.lastSeq, 1, now);
      const request = wireRequest(PUSH, { input: pushInput(replica, changes, now) }, replica.accessToken);
      const received = receives(reader, changes[0]?.payload.value ?? "");
      const sent = performance.now();
      const [answer, tookMs] = await Promise.all([author.post(request), received.then(() => performance.now() - sent)]);
      const { lastSeq, headRev } = dataOf(PUSH, answer).pushState;
      if (lastSeq !== replica.lastSeq + 1) throw new Error("the change was not settled");
      Object.assign(replica, { lastSeq, headRev });
      return tookMs;
    },
    async [Symbol.asyncDispose]() {
      for (const socket of opened) socket.terminate();
      for (const socket of sockets ?? []) await socket[Symbol.asyncDispose]();
      await http[Symbol.asyncDispose]();
    },
  };
}
