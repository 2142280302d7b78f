/** What happens to a client that does not read, on a real socket. */
import { createLogger } from "@continuo/process";
import { once } from "node:events";
import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { type Server, WebSocket, WebSocketServer } from "ws";
import { ConnectedSocket, Connection, type SharedState, createSharedState, type Speaker } from "./connection.ts";

const MiB = 1024 * 1024;
/** Messages of 1 MiB: more than the kernel buffers, and than may wait. */
const MOST = 50;
const PING_EVERY_MS = 12_000;

let server: Server<typeof ConnectedSocket>;
let client: WebSocket;
/** The server's end. */
let socket: ConnectedSocket;
let stream: Socket;
let closing: Promise<unknown[]>;
beforeEach(async () => {
  vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
  server = new WebSocketServer({ host: "127.0.0.1", port: 0, WebSocket: ConnectedSocket, perMessageDeflate: false });
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  const connected = Promise.withResolvers<ConnectedSocket>();
  server.once("connection", (socket: ConnectedSocket, request: IncomingMessage) => {
    stream = request.socket;
    connected.resolve(socket);
  });
  client = new WebSocket(`ws://127.0.0.1:${address.port}`);
  closing = once(client, "close");
  [socket] = await Promise.all([connected.promise, once(client, "open")]);
});
afterEach(() => {
  client.terminate();
  server.close();
  vi.useRealTimers();
});

const nobody = { hear: () => undefined, gone: () => undefined };
const logger = createLogger({ name: "test", level: "silent" });

type Limits = Partial<Pick<SharedState, "initWithinMs" | "closeWithinMs">>;

function accept(limits: Limits = {}, speaker: Speaker = nobody): Connection {
  const shared = createSharedState({ pingEveryMs: PING_EVERY_MS, ...limits, logger });
  return new Connection({ socket, stream, requestId: "of-the-upgrade" }, shared, () => speaker);
}

/** A connection after `introduced`, which therefore has no deadline. */
function connect(limits: Limits = {}, speaker: Speaker = nobody): Connection {
  const connection = accept({ closeWithinMs: 60_000, ...limits }, speaker);
  connection.introduced();
  return connection;
}

const isStill = (sending: Promise<unknown> | undefined): Promise<boolean> =>
  Promise.race([
    Promise.resolve(sending).then(() => false),
    new Promise<boolean>((resolve) => setTimeout(() => resolve(true), 100)),
  ]);

/** Sends messages until one stalls, and returns that one. */
async function sendUntilStalled(connection: Connection): Promise<{ last: Promise<void> | undefined }> {
  for (let sent = 0; sent < MOST; sent += 1) {
    const last = connection.send("x".repeat(MiB));
    if (await isStill(last)) return { last };
  }
  throw new Error("it is never held up");
}

function flood(connection: Connection): void {
  for (let sent = 0; sent < MOST; sent += 1) {
    void connection.send("x".repeat(MiB));
    expect(socket.bufferedAmount).toBeLessThan(18 * MiB);
  }
}

it("a client that does not read holds up its own messages, and is closed with a reason when it has read nothing from one ping to the next", async () => {
  const connection = connect();
  client.pause();
  await sendUntilStalled(connection);
  // Only the message in flight waits here.
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

it("for a client that has not said who it is little waits", async () => {
  const connection = accept({ closeWithinMs: 60_000 });
  client.pause();
  stream.cork();
  for (let sent = 0; sent < 3; sent += 1) void connection.send("x".repeat(40 * 1024));
  expect(socket.bufferedAmount).toBeLessThan(100 * 1024);
  stream.uncork();
  client.resume();
  const [code, reason] = await closing;
  expect([code, String(reason)]).toEqual([1013, "TOO_SLOW"]);
});

it.each<[string, (connection: Connection) => unknown]>([
  ["by itself, within a second", () => vi.advanceTimersByTime(1_000)],
  ["in place of what comes", () => client.send("late")],
  ["in place of what goes", (connection) => connection.send("late")],
])("a socket whose token has expired is closed %s", async (_when, happen) => {
  const [heard, told] = [vi.fn<Speaker["hear"]>(), vi.fn<(data: unknown) => void>()];
  const connection = connect({}, { ...nobody, hear: heard });
  client.on("message", told);
  connection.expireAt(Date.now() / 1000 - 1);
  happen(connection);
  const [code, reason] = await closing;
  expect([code, String(reason), heard.mock.calls, told.mock.calls]).toEqual([4403, "TOKEN_EXPIRED", [], []]);
});

it("a client that says nothing is closed", async () => {
  accept({ initWithinMs: 20 });
  const [code] = await closing;
  expect(code).toBe(4408);
});

it("a client that has said who it is stays, though the server was too busy to hear it in time", async () => {
  const heard = vi.fn<Speaker["hear"]>(() => connection.introduced());
  const connection = accept({ initWithinMs: 20 }, { ...nobody, hear: heard });
  client.send("it is me");
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100);
  await expect.poll(() => heard.mock.calls).toEqual([["it is me"]]);
  await isStill(closing);
  expect(connection.isOpen).toBe(true);
});

it("a client that never reads again is cut off with what waits for it", async () => {
  const connection = connect({ closeWithinMs: 100 });
  client.pause();
  flood(connection);
  await once(socket, "close");
  expect(server.clients.size).toBe(0);
});
