/** Streams of a small subgraph over a socket, requested as the gateway does, and by other callers. */
import { createIdentitySigner, createIdentityVerifier, generateKey, IDENTITY_HEADER } from "@continuo/access";
import { createHealth, createLogger } from "@continuo/process";
import { parse } from "graphql";
import { type Client, createClient, MessageType, stringifyMessage } from "graphql-ws";
import { once } from "node:events";
import { createServer } from "node:http";
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from "vitest";
import { WebSocket } from "ws";
import { requireViewer, startSubgraph, type Subgraph, type SubgraphContext } from "./index.ts";
import { buildSchema } from "./schema.ts";
import { routeSockets } from "./socket-routes.ts";
import { serveStreams } from "./serve-streams.ts";
import { createStreams } from "./streams.ts";
import { testViewer } from "./testing.ts";

const typeDefs = parse(`
  type Query { a: Int }
  type Subscription { ticks: String! never: Int deaf: Int }`);
const logger = createLogger({ name: "test", level: "silent" });
const keys = await generateKey("Ed25519");
const signer = createIdentitySigner(keys.privateJwk);
const identity = createIdentityVerifier(keys.publicJwk);
const ada = testViewer();

/** Generators as a team would write them; of the two that wait, only one watches the signal. */
const resolvers = {
  Subscription: {
    ticks: {
      async *subscribe(_root: unknown, _args: unknown, context: SubgraphContext) {
        yield { ticks: requireViewer(context).userId };
        yield { ticks: null };
      },
    },
    never: {
      async *subscribe(_root: unknown, _args: unknown, { signal, answered }: SubgraphContext) {
        if (signal) await once(signal, "abort");
        await answered;
        left += 1;
        yield { never: 1 };
      },
    },
    deaf: {
      async *subscribe() {
        await new Promise(() => undefined);
        yield { deaf: 1 };
      },
    },
  },
};
let left = 0;
let subgraph: Subgraph;
let client: Client | undefined;
beforeEach(async () => {
  left = 0;
  subgraph = await startSubgraph<SubgraphContext>({
    name: "ticks",
    host: "127.0.0.1",
    port: 0,
    typeDefs,
    resolvers,
    identity,
    health: createHealth(),
    logger,
    context: (base) => base,
  });
});
afterEach(async () => {
  await client?.dispose();
  client = undefined;
  await subgraph[Symbol.asyncDispose]();
});

const socketUrl = (): string => subgraph.url.replace(/^http/, "ws");
const statementOf = async (who = ada): Promise<Record<string, string>> => ({
  [IDENTITY_HEADER]: await signer.sign(who),
});

function connect(connectionParams: Record<string, unknown>, url = socketUrl()): Client {
  client = createClient({ url, webSocketImpl: WebSocket, retryAttempts: 0, connectionParams });
  return client;
}

/** How a socket ends that sends these messages first. */
async function endOf(...messages: Parameters<typeof stringifyMessage>[0][]): Promise<[code: number, reason: string]> {
  const socket = new WebSocket(socketUrl(), "graphql-transport-ws");
  await once(socket, "open");
  for (const message of messages) socket.send(stringifyMessage(message));
  const [code, reason] = await once(socket, "close");
  return [Number(code), String(reason)];
}

describe("streams over a socket", () => {
  test("come to whom the gateway vouches for, with errors in our words", async () => {
    const told: unknown[] = [];
    for await (const event of connect(await statementOf()).iterate({ query: "subscription { ticks }" }))
      told.push(event);
    expect(told).toEqual([
      { data: { ticks: ada.viewer.userId } },
      {
        data: null,
        errors: [
          {
            message: expect.any(String),
            path: ["ticks"],
            extensions: { code: "INTERNAL_SERVER_ERROR", reason: "UNEXPECTED" },
          },
        ],
      },
    ]);
  });

  test.each([
    ["nothing", {}],
    ["a forged statement", { [IDENTITY_HEADER]: "eyJhbGciOiJub25lIn0.e30." }],
  ])("are refused to whoever shows %s", async (_what, payload) => {
    expect(await endOf({ type: MessageType.ConnectionInit, payload })).toEqual([4403, "INTERNAL_IDENTITY_REQUIRED"]);
  });

  test("are refused to whoever does not say who asks, and who asks at once for another", async () => {
    expect(await endOf({ type: MessageType.Subscribe, id: "1", payload: { query: "subscription { ticks }" } })).toEqual(
      [4401, "Unauthorized"],
    );
    const init = { type: MessageType.ConnectionInit, payload: await statementOf() } as const;
    const ping = { type: MessageType.Ping, payload: await statementOf(testViewer()) } as const;
    expect(await endOf(init, ping)).toEqual([4403, "INTERNAL_IDENTITY_REQUIRED"]);
  });

  test.each([
    ["a query", "{ a }", "REQUEST_INVALID"],
    ["what is no GraphQL", "subscription {", "DOCUMENT_INVALID"],
    ["what there is not", "subscription { nothing }", "DOCUMENT_INVALID"],
  ])("refuse %s and leave the socket to the others", async (_what, query, reason) => {
    const socket = connect(await statementOf());
    const others = socket.iterate({ query: "subscription { never }" });
    const next = others.next();
    const refused = await socket
      .iterate({ query })
      .next()
      .catch((thrown: unknown) => thrown);
    expect(refused).toMatchObject([{ extensions: { code: "BAD_USER_INPUT", reason } }]);
    expect(left).toBe(0);
    await others.return?.();
    await next;
    await vi.waitFor(() => expect(left).toBe(1), 60_000);
  });

  test("end with the subgraph, which says that it goes", async () => {
    const socket = new WebSocket(socketUrl(), "graphql-transport-ws");
    await once(socket, "open");
    const closed = once(socket, "close");
    await subgraph[Symbol.asyncDispose]();
    expect((await closed)[0]).toBe(1001);
  });

  test("end when nobody vouches for the caller any more", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    onTestFinished(() => void vi.useRealTimers());
    const http = createServer().listen(0, "127.0.0.1");
    await once(http, "listening");
    const address = http.address();
    const schema = buildSchema(typeDefs, resolvers);
    const streams = createStreams(schema, (scope) => ({ ...scope, logger }));
    await using served = serveStreams({ schema, streams, identity, logger, renewWithinMs: 200 });
    routeSockets(http, [served]);
    const port = typeof address === "object" ? address?.port : 0;
    const socket = new WebSocket(`ws://127.0.0.1:${port}/graphql`, "graphql-transport-ws");
    let answers = 0;
    socket.on("message", () => (answers += 1));
    const closed = once(socket, "close");
    await once(socket, "open");
    const say = (message: Parameters<typeof stringifyMessage>[0]): void => socket.send(stringifyMessage(message));
    say({ type: MessageType.ConnectionInit, payload: await statementOf() });
    await expect.poll(() => answers).toBe(1);
    say({ type: MessageType.Subscribe, id: "1", payload: { query: "subscription { never }" } });
    for (const round of [2, 3]) {
      vi.advanceTimersByTime(150);
      say({ type: MessageType.Ping, payload: await statementOf() });
      await expect.poll(() => answers).toBe(round);
    }
    expect(left).toBe(0);
    vi.advanceTimersByTime(200);
    expect((await closed)[0]).toBe(4403);
    await expect.poll(() => left).toBe(1);
    http.close();
  });

  test("are refused for now where no more are taken", async () => {
    const http = createServer().listen(0, "127.0.0.1");
    await once(http, "listening");
    const address = http.address();
    routeSockets(http, [{ path: "/full", take: () => false, [Symbol.asyncDispose]: async () => undefined }]);
    const socket = new WebSocket(`ws://127.0.0.1:${typeof address === "object" ? address?.port : 0}/full`);
    const [fault] = await once(socket, "error");
    expect(String(fault)).toContain("503");
    http.close();
  });

  test("have one address", async () => {
    const socket = new WebSocket(`${socketUrl()}/other`, "graphql-transport-ws");
    const [fault] = await once(socket, "error");
    expect(String(fault)).toContain("404");
  });
});

describe("streams within the process", () => {
  test("are left at once, by their signal too, also while their resolver waits", async () => {
    const leaving = new AbortController();
    const scope = { caller: ada, requestId: "r1", signal: leaving.signal };
    const waiting: unknown[] = [];
    for (const query of ["subscription { never }", "subscription { deaf }"]) {
      const begun = await subgraph.local.subscribe({ query }, scope);
      if ("next" in begun) waiting.push(begun.next());
    }
    leaving.abort();
    const done = { done: true, value: undefined };
    expect(await Promise.all(waiting)).toEqual([done, done]);
    await vi.waitFor(() => expect(left).toBe(1), 60_000);
  });

  test("that cannot be say why", async () => {
    const anonymous = { caller: { kind: "anonymous" }, requestId: "r1" } as const;
    const refused = await subgraph.local.subscribe({ query: "subscription { nothing }" }, anonymous);
    expect(refused).toMatchObject({ errors: [{ extensions: { reason: "DOCUMENT_INVALID" } }] });
    expect("data" in refused).toBe(false);
  });
});
