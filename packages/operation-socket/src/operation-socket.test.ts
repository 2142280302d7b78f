/** Both sides over loopback: many callers on one socket, and how it can end. */
import { createLogger } from "@continuo/process";
import { MessageType } from "graphql-ws";
import { once } from "node:events";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { setImmediate as turn, setTimeout as delay } from "node:timers/promises";
import { afterEach, describe, expect, test, vi } from "vitest";
import { WebSocket } from "ws";
import {
  acceptOperations,
  type AcceptedOperation,
  openOperationSockets,
  type OperationSockets,
  SocketLost,
} from "./index.ts";

const logger = createLogger({ name: "test", level: "silent" });
const PATIENCE = { withinMs: 60_000 };
const soon = { timeout: 60_000, interval: 10 };
const HEADERS = { from: "ada" };
let stack = new AsyncDisposableStack();
afterEach(async () => {
  vi.useRealTimers();
  await stack.disposeAsync();
  stack = new AsyncDisposableStack();
});

type Answer = Parameters<typeof acceptOperations>[0]["answer"];

/** A server of operations; by default, the answer echoes the query and who asks. */
async function serve(
  answer: Answer = async ({ query, headers }) => ({ data: { query, from: headers["from"] } }),
  limits: { initWithinMs?: number; silentForMs?: number; closeWithinMs?: number } = {},
) {
  const route = acceptOperations({
    admit: async ({ name }) => {
      if (name === "undecided") await new Promise(() => {});
      if (name !== "gateway") throw new Error("who are you?");
    },
    answer,
    logger,
    ...limits,
  });
  const streams: Socket[] = [];
  const server = createServer((_request, response) => response.writeHead(404).end())
    .on("upgrade", (request, stream: Socket, head) => {
      streams.push(stream);
      if (request.url !== route.path || !route.take(request, stream, head)) stream.destroy();
    })
    .listen(0, "127.0.0.1");
  await once(server, "listening");
  stack.defer(async () => {
    for (const stream of streams) stream.destroy();
    server.close();
    await route[Symbol.asyncDispose]();
  });
  return { route, streams, port: portOf(server.address()) };
}

async function serveHttp(answer: RequestListener): Promise<number> {
  const server = createServer(answer).listen(0, "127.0.0.1");
  await once(server, "listening");
  stack.defer(async () => {
    server.close();
    server.closeAllConnections();
  });
  return portOf(server.address());
}

function portOf(address: AddressInfo | string | null): number {
  return typeof address === "object" ? (address?.port ?? 0) : 0;
}

function open(port: number, options: { pingEveryMs?: number; maxAgeMs?: number; name?: string } = {}) {
  const { name = "gateway", ...rest } = options;
  return stack.use(
    openOperationSockets({ url: `http://127.0.0.1:${port}`, headers: async () => ({ name }), logger, ...rest }),
  );
}

/** Retries, because the first operations find no open socket. */
async function ask(
  sockets: OperationSockets,
  query: string,
  headers = HEADERS,
  patience: Parameters<OperationSockets["ask"]>[2] = PATIENCE,
) {
  const asked = await vi.waitUntil(() => {
    const answer = sockets.ask({ query }, headers, patience);
    return answer && { answer };
  }, soon);
  return asked.answer;
}

/** The same with fake timers. */
async function first(sockets: OperationSockets): Promise<void> {
  await expect.poll(() => sockets.ask({ query: "first" }, HEADERS, PATIENCE)).toMatchObject({ data: {} });
}

/** A peer that sends what it is told to. */
async function speak(port: number): Promise<{ socket: WebSocket; say: (message: unknown) => void; heard: unknown[] }> {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/graphql/operations`, "graphql-transport-ws");
  const heard: unknown[] = [];
  socket.on("message", (data) => heard.push(JSON.parse(Buffer.isBuffer(data) ? data.toString() : "")));
  await once(socket, "open");
  stack.defer(() => socket.terminate());
  return {
    socket,
    heard,
    say: (message) => socket.send(typeof message === "string" ? message : JSON.stringify(message)),
  };
}

describe("operations", () => {
  test("of many callers are each answered to who asked, whatever comes first", async () => {
    const { port, streams } = await serve(async ({ query, headers }) => {
      await delay(Number(query) % 7);
      return { data: { query, from: headers["from"] } };
    });
    const sockets = open(port);
    await ask(sockets, "0");
    const numbers = Array.from({ length: 100 }, (_, index) => String(index));
    const answers = numbers.map(async (query) => sockets.ask({ query }, { from: `user ${query}` }, PATIENCE));
    expect(await Promise.all(answers)).toEqual(numbers.map((query) => ({ data: { query, from: `user ${query}` } })));
    expect(streams.length).toBeLessThanOrEqual(2);
  });

  test("bring their variables, and are told when their answer is on its way", async () => {
    const seen: AcceptedOperation[] = [];
    const { port } = await serve(async (operation) => {
      seen.push(operation);
      return { data: {} };
    });
    const sockets = open(port);
    await ask(sockets, "first");
    const request = { query: "query A($a: Int) { a }", variables: { a: 1 }, operationName: "A" };
    await sockets.ask(request, HEADERS, PATIENCE);
    expect(seen.at(-1)).toMatchObject({ ...request, headers: HEADERS });
    await seen.at(-1)?.answered;
  });

  test("that were not run have errors alone", async () => {
    const errors = [{ message: "no", extensions: { code: "BAD_USER_INPUT" } }];
    const { port } = await serve(async () => ({ errors }));
    expect(await ask(open(port), "x")).toEqual({ errors });
  });

  test("that nobody waits for are told so, and no other", async () => {
    const left: string[] = [];
    const { port } = await serve(async ({ query, signal, answered }) => {
      if (query === "quick") return { data: {} };
      await once(signal, "abort");
      void answered.then(() => left.push(query));
      return { data: {} };
    });
    const sockets = open(port);
    await ask(sockets, "quick");
    const leaving = new AbortController();
    const gone = sockets.ask({ query: "gone" }, HEADERS, { ...PATIENCE, signal: leaving.signal });
    const late = sockets.ask({ query: "late" }, HEADERS, { withinMs: 50 });
    const already = sockets.ask({ query: "already" }, HEADERS, { ...PATIENCE, signal: AbortSignal.abort() });
    leaving.abort();
    await expect(gone).rejects.toThrow("nobody waits");
    await expect(already).rejects.toThrow("nobody waits");
    await expect(late).rejects.toThrow("no answer within 50 ms");
    await vi.waitFor(() => expect(left.toSorted()).toEqual(["already", "gone", "late"]), soon);
    expect(await sockets.ask({ query: "quick" }, HEADERS, PATIENCE)).toEqual({ data: {} });
  });

  test("beyond what the sockets take go another way, and find room again", async () => {
    const { promise, resolve } = Promise.withResolvers<{ data: Record<string, unknown> }>();
    const { port, streams } = await serve(async ({ query }) => (query === "slow" ? promise : { data: {} }));
    const sockets = open(port);
    await ask(sockets, "quick");
    await vi.waitUntil(() => {
      void sockets.ask({ query: "quick" }, HEADERS, PATIENCE);
      return sockets.open === 2;
    }, soon);
    const taken = Array.from({ length: 600 }, () => sockets.ask({ query: "slow" }, HEADERS, PATIENCE)).filter(
      (answer) => answer !== undefined,
    );
    expect(taken.length).toBeGreaterThan(400);
    expect(taken.length).toBeLessThanOrEqual(500);
    expect(streams).toHaveLength(2);
    resolve({ data: {} });
    await Promise.all(taken);
    expect(await sockets.ask({ query: "quick" }, HEADERS, PATIENCE)).toEqual({ data: {} });
  });

  test("that are too long go another way; an answer that is too long is an error, and others go on", async () => {
    const { port } = await serve(async ({ query }) => ({
      data: { long: "é".repeat(query === "long" ? 4_200_000 : 3) },
    }));
    const sockets = open(port);
    await ask(sockets, "first");
    expect(sockets.ask({ query: "é".repeat(400_000) }, HEADERS, PATIENCE)).toBeUndefined();
    const [long, short] = await Promise.all(
      ["long", "short"].map(async (query) => sockets.ask({ query }, HEADERS, PATIENCE)),
    );
    expect(long).toMatchObject({ errors: [{ extensions: { code: "INTERNAL_SERVER_ERROR" } }] });
    expect(short).toEqual({ data: { long: "ééé" } });
  });
});

describe("a socket", () => {
  test("that breaks ends what is under way over it, at both sides, and another is opened", async () => {
    const ended = Promise.withResolvers<void>();
    const { port, streams } = await serve(async ({ query, signal }) => {
      if (query === "slow") await once(signal, "abort").then(() => ended.resolve());
      return { data: {} };
    });
    const sockets = open(port);
    await ask(sockets, "quick");
    const lost = sockets.ask({ query: "slow" }, HEADERS, PATIENCE);
    await delay(20);
    for (const stream of streams) stream.destroy();
    await expect(lost).rejects.toBeInstanceOf(SocketLost);
    await ended.promise;
    expect(await ask(sockets, "quick")).toEqual({ data: {} });
  });

  test("whose other side is silent is given up", async () => {
    vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
    const { port, streams } = await serve();
    const sockets = open(port, { pingEveryMs: 100 });
    await first(sockets);
    for (const stream of streams) stream.pause();
    const asked = sockets.ask({ query: "a" }, HEADERS, PATIENCE);
    vi.advanceTimersByTime(200);
    await expect(asked).rejects.toBeInstanceOf(SocketLost);
  });

  test("stays while the other side answers pings alone", async () => {
    vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
    const { port, streams } = await serve(undefined, { silentForMs: 1_500 });
    const sockets = open(port, { pingEveryMs: 100 });
    await first(sockets);
    const [stream] = streams;
    for (const startedAt = performance.now(); performance.now() - startedAt < 2_000;) {
      const before = stream?.bytesWritten;
      vi.advanceTimersByTime(100);
      await expect.poll(() => stream?.bytesWritten).not.toBe(before);
      // The ping is written in one turn of the event loop, and read in a later one.
      for (let turns = 0; turns < 3; turns += 1) await turn();
      await delay(20);
    }
    expect(stream?.destroyed).toBe(false);
  });

  test("makes room for another when it is old, and closes when all has been answered", async () => {
    const { promise, resolve } = Promise.withResolvers<{ data: Record<string, unknown> }>();
    const { port, streams } = await serve(async ({ query }) => (query === "slow" ? promise : { data: {} }));
    const sockets = open(port, { maxAgeMs: 200 });
    const slow = ask(sockets, "slow");
    await vi.waitFor(() => {
      void sockets.ask({ query: "quick" }, HEADERS, PATIENCE);
      expect(streams.length).toBeGreaterThan(2);
    }, soon);
    expect(streams[0]?.destroyed).toBe(false);
    resolve({ data: { slow: true } });
    expect(await slow).toEqual({ data: { slow: true } });
    await vi.waitFor(() => expect(streams[0]?.destroyed).toBe(true), soon);
  });

  test("is not opened where nobody takes it: whoever asks goes another way", async () => {
    let asked = 0;
    const port = await serveHttp((_request, response) => {
      asked += 1;
      response.writeHead(404).end();
    });
    const sockets = open(port);
    expect(sockets.ask({ query: "a" }, HEADERS, PATIENCE)).toBeUndefined();
    await vi.waitFor(() => expect(asked).toBe(1), soon);
    await delay(50);
    expect(sockets.ask({ query: "a" }, HEADERS, PATIENCE)).toBeUndefined();
    await delay(50);
    expect(asked).toBe(1);
  });

  test("answers what is under way before its server goes away, and takes no more", async () => {
    const { promise, resolve } = Promise.withResolvers<{ data: Record<string, unknown> }>();
    const { route, port, streams } = await serve(async ({ query }) => (query === "slow" ? promise : { data: {} }));
    const sockets = open(port);
    await ask(sockets, "quick");
    const slow = sockets.ask({ query: "slow" }, HEADERS, PATIENCE);
    await delay(20);
    const closing = route[Symbol.asyncDispose]();
    await vi.waitFor(() => expect(sockets.ask({ query: "quick" }, HEADERS, PATIENCE)).toBeUndefined(), soon);
    resolve({ data: { slow: true } });
    expect(await slow).toEqual({ data: { slow: true } });
    await closing;
    expect(streams.every(({ destroyed }) => destroyed)).toBe(true);
  });

  test("is ended when its server has waited long enough", async () => {
    const begun = Promise.withResolvers<void>();
    const { route, port } = await serve(
      async () => {
        begun.resolve();
        return new Promise(() => {});
      },
      { closeWithinMs: 50 },
    );
    const slow = ask(open(port), "slow");
    await begun.promise;
    await route[Symbol.asyncDispose]();
    await expect(slow).rejects.toBeInstanceOf(SocketLost);
  });

  test("of whoever is not admitted is closed, and nothing is run", async () => {
    let runs = 0;
    const { port } = await serve(async () => {
      runs += 1;
      return { data: {} };
    });
    const sockets = open(port, { name: "mallory" });
    for (let round = 0; round < 5; round += 1) {
      expect(sockets.ask({ query: "a" }, HEADERS, PATIENCE)).toBeUndefined();
      await delay(10);
    }
    expect(runs).toBe(0);
  });
});

describe("a server", () => {
  const INIT = { type: MessageType.ConnectionInit, payload: { name: "gateway" } };
  const subscribe = (id: string, query = "a") => ({ id, type: MessageType.Subscribe, payload: { query } });

  test.each<[string, number, unknown[]]>([
    ["an operation before its introduction", 4401, [subscribe("1")]],
    [
      "an operation before it is admitted",
      4401,
      [{ type: MessageType.ConnectionInit, payload: { name: "undecided" } }, subscribe("1")],
    ],
    ["a second introduction", 4429, [INIT, INIT]],
    ["one who is not admitted", 4403, [{ type: MessageType.ConnectionInit, payload: { name: "mallory" } }]],
    ["no JSON", 4400, ["{"]],
    ["what only a server sends", 4400, [{ type: MessageType.ConnectionAck }]],
    ["an id that is under way", 4409, [INIT, "wait", subscribe("1", "slow"), subscribe("1", "slow")]],
    ["an operation that fails", 4500, [INIT, "wait", subscribe("1", "bug")]],
  ])("closes on %s", async (_case, code, messages) => {
    const { port } = await serve(async ({ query }) => {
      if (query === "bug") throw new Error("a bug");
      return new Promise(() => {});
    });
    const { socket, heard, say } = await speak(port);
    const closed = once(socket, "close");
    for (const message of messages)
      if (message === "wait") await vi.waitUntil(() => heard.length > 0, soon);
      else say(message);
    expect((await closed)[0]).toBe(code);
  });

  test("closes on a message that is too long, and on bytes", async () => {
    const { port } = await serve();
    const [long, binary] = [await speak(port), await speak(port)];
    const closed = Promise.all([once(long.socket, "close"), once(binary.socket, "close")]);
    long.say("x".repeat(1024 * 1024 + 1));
    binary.socket.send(Buffer.from([1, 2, 3]));
    expect((await closed).map(([code]) => code)).toEqual([1009, 4400]);
  });

  test("closes on whoever does not introduce itself, or is silent", async () => {
    const { port } = await serve(undefined, { initWithinMs: 50 });
    const { socket } = await speak(port);
    expect((await once(socket, "close"))[0]).toBe(4408);
    const patient = await serve(undefined, { silentForMs: 200 });
    const silent = await speak(patient.port);
    silent.say(INIT);
    expect((await once(silent.socket, "close"))[0]).toBe(1006);
  });

  test("closes on nobody who has introduced itself, though it was too busy to hear so in time", async () => {
    const later = setTimeout;
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    const { port } = await serve(undefined, { initWithinMs: 50 });
    const { socket, heard, say } = await speak(port);
    // At the point where timers run, before input is read.
    await new Promise((resolve) => later(resolve, 1));
    say(INIT);
    vi.advanceTimersByTime(50);
    await expect.poll(() => heard.length > 0 || socket.readyState !== WebSocket.OPEN).toBe(true);
    expect(heard).toEqual([{ type: MessageType.ConnectionAck }]);
  });

  test("takes so many operations at once from a socket, and refuses one more alone", async () => {
    const { port } = await serve(async () => new Promise(() => {}));
    const { socket, heard, say } = await speak(port);
    say(INIT);
    await vi.waitUntil(() => heard.length > 0, soon);
    for (let id = 0; id <= 1_000; id += 1) say(subscribe(`${id}`));
    await vi.waitFor(
      () =>
        expect(heard.slice(1)).toMatchObject([
          { id: "1000", type: MessageType.Error, payload: [{ extensions: { reason: "TOO_MANY_OPERATIONS" } }] },
        ]),
      soon,
    );
    expect(socket.readyState).toBe(WebSocket.OPEN);
  });

  test("answers whoever asks under an id that was left what they asked", async () => {
    const answers = new Map<string, PromiseWithResolvers<void>>();
    const { port } = await serve(async ({ query }) => {
      const answer = Promise.withResolvers<void>();
      answers.set(query, answer);
      await answer.promise;
      return { data: { query } };
    });
    const { say, heard } = await speak(port);
    say({ type: MessageType.ConnectionInit, payload: { name: "gateway" } });
    await expect.poll(() => heard).toHaveLength(1);
    say({ type: MessageType.Subscribe, id: "1", payload: { query: "former" } });
    say({ type: MessageType.Complete, id: "1" });
    say({ type: MessageType.Subscribe, id: "1", payload: { query: "latter" } });
    await expect.poll(() => answers.size).toBe(2);
    answers.get("former")?.resolve();
    await turn();
    answers.get("latter")?.resolve();
    await expect
      .poll(() => heard.slice(1))
      .toEqual([
        { type: MessageType.Next, id: "1", payload: { data: { query: "latter" } } },
        { type: MessageType.Complete, id: "1" },
      ]);
  });

  test("answers a ping, and speaks the protocol of stock clients", async () => {
    const { port } = await serve(async () => ({ data: { a: 1 } }));
    const { heard, say } = await speak(port);
    say(INIT);
    await vi.waitFor(() => expect(heard).toHaveLength(1), soon);
    say({ type: MessageType.Ping });
    say(subscribe("7"));
    await vi.waitFor(
      () =>
        expect(heard).toEqual([
          { type: MessageType.ConnectionAck },
          { type: MessageType.Pong },
          { id: "7", type: MessageType.Next, payload: { data: { a: 1 } } },
          { id: "7", type: MessageType.Complete },
        ]),
      soon,
    );
  });
});
