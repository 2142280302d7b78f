/** What becomes of a client that does not read, at a real socket. */
import { createLogger } from "@continuo/process";
import { once } from "node:events";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { WebSocket, WebSocketServer } from "ws";
import { type Connection, createConnection } from "./connection.ts";

const MiB = 1024 * 1024;
/** Messages of a MiB: more than the machine's own buffers hold, and than may wait. */
const MOST = 50;
const PING_EVERY_MS = 12_000;

let server: WebSocketServer;
let client: WebSocket;
/** The server's end. */
let socket: WebSocket;
let closing: Promise<unknown[]>;
beforeEach(async () => {
  vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
  server = new WebSocketServer({ host: "127.0.0.1", port: 0, perMessageDeflate: false });
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  const connected = Promise.withResolvers<WebSocket>();
  server.once("connection", connected.resolve);
  client = new WebSocket(`ws://127.0.0.1:${address.port}`);
  closing = once(client, "close");
  [socket] = await Promise.all([connected.promise, once(client, "open")]);
});
afterEach(() => {
  client.terminate();
  server.close();
  vi.useRealTimers();
});

const connect = (closeWithinMs?: number): Connection =>
  createConnection({
    socket,
    pingEveryMs: PING_EVERY_MS,
    beforePing: () => undefined,
    answerPing: async (payload) => payload,
    requestId: "of-the-upgrade",
    logger: createLogger({ name: "test", level: "silent" }),
    ...(closeWithinMs !== undefined && { closeWithinMs }),
  });

const isStill = (sending: Promise<void>): Promise<boolean> =>
  Promise.race([sending.then(() => false), new Promise<boolean>((resolve) => setTimeout(() => resolve(true), 100))]);

/** Sends one message after the other until one does not go out: that one. */
async function sendUntilStalled({ transport }: Connection): Promise<{ last: Promise<void> }> {
  for (let sent = 0; sent < MOST; sent += 1) {
    const last = transport.send("x".repeat(MiB));
    if (await isStill(last)) return { last };
  }
  throw new Error("it is never held up");
}

function flood({ transport }: Connection): void {
  for (let sent = 0; sent < MOST; sent += 1) {
    void transport.send("x".repeat(MiB));
    expect(socket.bufferedAmount).toBeLessThan(18 * MiB);
  }
}

it("a client that does not read holds up its own messages, and is closed with a reason when it has read nothing from one ping to the next", async () => {
  const connection = connect();
  client.pause();
  await sendUntilStalled(connection);
  // What waits here is the one message that is under way.
  expect(socket.bufferedAmount).toBeLessThan(2 * MiB);
  vi.advanceTimersByTime(PING_EVERY_MS);
  expect(connection.isOpen).toBe(true);
  vi.advanceTimersByTime(PING_EVERY_MS);
  expect(connection.isOpen).toBe(false);
  client.resume();
  const [code, reason] = await closing;
  expect([code, String(reason)]).toEqual([1013, "TOO_SLOW"]);
});

it("a client that reads slowly, but reads, stays", async () => {
  const connection = connect();
  for (let pings = 0; pings < 3; pings += 1) {
    client.pause();
    const { last } = await sendUntilStalled(connection);
    vi.advanceTimersByTime(PING_EVERY_MS);
    client.resume();
    await last;
  }
  expect(connection.isOpen).toBe(true);
});

it("a client that goes on asking without reading is closed before more than 16 MiB wait for it", async () => {
  const connection = connect();
  client.pause();
  flood(connection);
  client.resume();
  const [code, reason] = await closing;
  expect([code, String(reason)]).toEqual([1013, "TOO_SLOW"]);
});

it("a client that never reads again is cut off with what waits for it", async () => {
  const connection = connect(100);
  client.pause();
  flood(connection);
  await once(socket, "close");
  expect(server.clients.size).toBe(0);
});
