/** Streams of a third-party subgraph (graphql-ws's own server), and of our own over a socket and in process. */
import {
  createIdentitySigner,
  createIdentityVerifier,
  generateKey,
  IDENTITY_HEADER,
  type Caller,
  type Viewer,
} from "@continuo/access";
import { AppError, isAppError } from "@continuo/errors";
import { createHealth, createLogger } from "@continuo/process";
import { startSubgraph, type SubgraphContext } from "@continuo/subgraph";
import { parse } from "graphql";
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { composeSupergraph } from "../compose.ts";
import { sessionEnded } from "../errors.ts";
import { claimsOf } from "../fixtures/claims.ts";
import { eventually } from "../fixtures/eventually.ts";
import { iterate } from "../fixtures/iterate.ts";
import { createMemoryPokes } from "../fixtures/memory-pokes.ts";
import { createMemoryRelays } from "../fixtures/memory-relays.ts";
import { type Price, startStockServer, stockSchema } from "../fixtures/stock-streams.ts";
import { createApolloGraph } from "../graph/apollo-graph.ts";
import type { Graph } from "../graph/graph.ts";
import { createDocuments } from "../limits/documents.ts";
import type { Answer } from "../plan/operation.ts";
import type { LocalSubgraph } from "../subgraph/local-subgraph.ts";
import type { EventSink } from "../subgraph/streamed-operation.ts";
import { createSubgraphClient, type SubgraphAnswer, type SubgraphClient } from "../subgraph/subgraph-client.ts";
import { StreamError } from "./stream-error.ts";
import { createStreamedOperations, openStreamedEvents } from "./streamed.ts";
import { createSubscriptions } from "./subscriptions.ts";

const PRICES = `
  extend schema
    @link(url: "https://specs.apollo.dev/federation/v2.9", import: ["@key", "@composeDirective"])
    @link(url: "https://specs.continuo.example/live/v1.0", import: ["@streamed"])
    @composeDirective(name: "@streamed")
  directive @streamed(scope: String! = "VIEWER", shared: Boolean! = true) on FIELD_DEFINITION
  type Query { price: Int }
  type Subscription {
    prices(of: [ID!]): Price @streamed
    ownPrices: Price @streamed(shared: false)
    allPrices: Price @streamed(scope: "PUBLIC")
  }
  type Price { amount: Int who: String! product: Product! }
  type Product @key(fields: "id", resolvable: false) { id: ID! }`;
const PRODUCTS = `
  extend schema @link(url: "https://specs.apollo.dev/federation/v2.9", import: ["@key"])
  type Query { product: Product }
  type Product @key(fields: "id") { id: ID! name: String! }`;
const LIVE = "subscription Live($of: [ID!]) { live: prices(of: $of) { amount who product { name } } }";

const logger = createLogger({ name: "test", level: "silent" });
const keys = await generateKey("Ed25519");
const signer = createIdentitySigner(keys.privateJwk);
const identity = createIdentityVerifier(keys.publicJwk);
const MORE = `${PRICES} extend type Query { more: Int }`;
const WITHOUT = PRICES.replace("prices(of: [ID!]): Price @streamed", "");
const compose = (subgraphs: Record<string, string>): string =>
  composeSupergraph(Object.entries(subgraphs).map(([name, sdl]) => ({ name, typeDefs: parse(sdl) })));
const MOVED = "prices are another subgraph's";
const supergraphs = new Map([
  ...[PRICES, MORE, WITHOUT].map((prices) => [prices, compose({ prices, products: PRODUCTS })] as const),
  [MOVED, compose({ exchange: PRICES, products: PRODUCTS })],
]);

/** A listener to prices; the test decides what it is sent. */
interface Listener {
  readonly who: string;
  send(amount: number): void;
  /** Ends it, with the reason if it is a failure. */
  end(why?: Error): void;
}

interface Market {
  readonly listeners: Set<Listener>;
  /** How many listeners there have been in total. */
  begun: number;
  refusal: Error | undefined;
  listen(who: string): AsyncIterableIterator<Price, undefined>;
  send(...amounts: readonly number[]): void;
}

type Next = IteratorResult<Price, undefined>;

function createMarket(): Market {
  const listeners = new Set<Listener>();
  const DONE = { done: true, value: undefined } as const;
  const market: Market = {
    listeners,
    begun: 0,
    refusal: undefined,
    listen(who) {
      if (market.refusal) throw market.refusal;
      const waiting: (Next | Error)[] = [];
      let wake = (): void => undefined;
      const put = (next: Next | Error): void => {
        waiting.push(next);
        wake();
      };
      const product = { __typename: "Product", id: "p1" } as const;
      const listener: Listener = {
        who,
        send: (amount) => put({ value: { amount, who, product } }),
        end: (why) => put(why ?? DONE),
      };
      listeners.add(listener);
      market.begun += 1;
      const stream: AsyncIterableIterator<Price, undefined> = {
        [Symbol.asyncIterator]: () => stream,
        async next() {
          while (waiting.length === 0) await new Promise<void>((resolve) => (wake = resolve));
          const next = waiting.shift() ?? DONE;
          if (next instanceof Error) throw next;
          return next;
        },
        async return() {
          listeners.delete(listener);
          put(DONE);
          return DONE;
        },
      };
      return stream;
    },
    send(...amounts) {
      for (const amount of amounts) for (const listener of listeners) listener.send(amount);
    },
  };
  return market;
}

interface Owner extends AsyncDisposable {
  readonly client: SubgraphClient;
}

type StartOwner = (market: Market) => Promise<Owner>;

const clientAt = (at: string | LocalSubgraph, pingEveryMs?: number): SubgraphClient =>
  createSubgraphClient({ name: "prices", at, signer, logger, pingEveryMs });

const startStock: StartOwner = async (market) => {
  const schema = stockSchema(({ who }) => market.listen(who));
  const server = await startStockServer({
    schema,
    async context({ connectionParams }) {
      const caller = await identity.verify(String(connectionParams?.[IDENTITY_HEADER]));
      return { who: whoIs(caller) };
    },
  });
  return { client: clientAt(server.url), [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
};

async function startOurs(
  market: Market,
  at: (subgraph: { url: string; local: LocalSubgraph }) => string | LocalSubgraph,
): Promise<Owner> {
  const prices = {
    subscribe: (_root: unknown, _args: unknown, context: SubgraphContext) => market.listen(whoIs(context.caller)),
    resolve: (price: unknown) => price,
  };
  const subgraph = await startSubgraph<SubgraphContext>({
    name: "prices",
    host: "127.0.0.1",
    port: 0,
    typeDefs: parse(PRICES),
    resolvers: { Subscription: { prices, ownPrices: prices, allPrices: prices } },
    identity,
    health: createHealth(),
    logger,
    context: (base) => base,
  });
  return { client: clientAt(at(subgraph)), [Symbol.asyncDispose]: () => subgraph[Symbol.asyncDispose]() };
}

const products: LocalSubgraph = {
  graphql: async ({ variables }) => {
    const asked: unknown = variables?.["representations"];
    return { data: { _entities: Array.isArray(asked) ? asked.map(() => ({ name: "Lamp" })) : [] } };
  },
  subscribe: unused,
  send: unused,
  stream: unused,
};

function unused(): never {
  throw new Error("nobody asks for this here");
}

const whoIs = (caller: Caller): string => (caller.kind === "viewer" ? caller.viewer.userId : caller.kind);

const someone = (said: Partial<Viewer> = {}): Viewer => ({
  userId: randomUUID(),
  sessionId: randomUUID(),
  deviceId: randomUUID(),
  applicationId: "continuo",
  acr: "aal1",
  amr: ["pwd"],
  authTime: 0,
  ...said,
});

/** A gateway's live operations over an owner of prices. */
function createLive(prices: SubgraphClient) {
  const clients = new Map([
    ["prices", prices],
    ["exchange", prices],
    ["products", createSubgraphClient({ name: "products", at: products, signer, logger })],
  ]);
  const build = (prices: string): Graph =>
    createApolloGraph({ supergraphSdl: supergraphs.get(prices) ?? "", clients, listSize: 10 });
  let graph = build(PRICES);
  let ended: Error | undefined;
  const most = { depth: 9, aliases: 9, rootFields: 9, directives: 9, selections: 9, tokens: 99, cost: 99 };
  const subscriptions = createSubscriptions({
    graph: { current: () => graph },
    clients,
    pokes: createMemoryPokes(),
    relays: createMemoryRelays(),
    standing: {
      async assert() {
        if (ended) throw ended;
      },
      assertToken: async () => undefined,
    },
    documents: createDocuments(most),
    maxCost: 99,
    hideSuggestions: false,
    logger,
    recheckMs: 40,
    backoffMs: () => 5,
  });
  return {
    async subscribe(viewer: Viewer, query = LIVE, variables: Record<string, unknown> = {}) {
      const prepared = subscriptions.prepare({ query, variables });
      if (!("open" in prepared)) throw new Error(JSON.stringify(prepared));
      const session = claimsOf(viewer.sessionId);
      const context = { caller: { kind: "viewer", viewer }, session, requestId: "r1", logger } as const;
      return iterate<Answer>((subscriber) => prepared.open(context, subscriber));
    },
    /** Returns the former graph while anything still holds it. */
    replace(prices: string): WeakRef<Graph> {
      const former = new WeakRef(graph);
      graph = build(prices);
      return former;
    },
    endSession: () => void (ended = sessionEnded("SIGNED_OUT")),
  };
}

const whole = (amount: number, { userId }: Viewer): Answer => ({
  data: { live: { amount, who: userId, product: { name: "Lamp" } } },
});

/** What a stream ends with: undefined when it is complete. */
async function failureOf(events: AsyncIterable<Answer, undefined>): Promise<unknown> {
  try {
    for await (const _event of events);
    return undefined;
  } catch (thrown) {
    return thrown;
  }
}

async function endOf(events: AsyncIterable<Answer, undefined>): Promise<unknown> {
  const thrown = await failureOf(events);
  if (thrown instanceof StreamError) return thrown.errors[0]?.extensions["reason"];
  return isAppError(thrown) ? thrown.reason : (thrown ?? "COMPLETE");
}

let market: Market;
beforeEach(() => {
  market = createMarket();
});

const kinds: [string, StartOwner, string][] = [
  ["a stock graphql-ws server", startStock, "UNEXPECTED"],
  ["a subgraph of ours", (market) => startOurs(market, ({ url }) => new URL(url).origin), "MARKET_CLOSED"],
  ["a subgraph in this process", (market) => startOurs(market, ({ local }) => local), "MARKET_CLOSED"],
];

describe.each(kinds)("what %s streams", (_kind, start, refused) => {
  let owner: Owner;
  let live: ReturnType<typeof createLive>;
  beforeEach(async () => {
    owner = await start(market);
    live = createLive(owner.client);
  });
  afterEach(async () => {
    await owner.client[Symbol.asyncDispose]();
    await owner[Symbol.asyncDispose]();
  });

  const listening = (count: number): Promise<void> => eventually(() => expect(market.listeners.size).toBe(count));

  it("comes to whoever asked, as they asked, completed by the other subgraphs", async () => {
    const [ada, bob] = [someone(), someone()];
    const [hers, his] = [await live.subscribe(ada), await live.subscribe(bob)];
    await listening(2);
    market.send(1, 2);
    expect([await hers.next(), await hers.next()]).toEqual([1, 2].map((n) => ({ done: false, value: whole(n, ada) })));
    expect(await his.next()).toEqual({ done: false, value: whole(1, bob) });
    await Promise.all([hers.return?.(), his.return?.()]);
    await listening(0);
  });

  it("is left while it says nothing, as soon as nobody waits for it", async () => {
    const events = await live.subscribe(someone());
    await listening(1);
    const next = events.next();
    await events.return?.();
    expect(await next).toEqual({ done: true, value: undefined });
    await listening(0);
  });

  it("is one stream for those of a session that ask alike, unless it says not to share", async () => {
    const ada = someone();
    const alike = [await live.subscribe(ada), await live.subscribe(ada)];
    const other = await live.subscribe(ada, LIVE, { of: ["p1"] });
    await listening(2);
    market.send(1);
    for (const events of [...alike, other]) expect((await events.next()).value).toEqual(whole(1, ada));
    await alike[0]?.return?.();
    market.send(2);
    expect((await alike[1]?.next())?.value).toEqual(whole(2, ada));
    await Promise.all([alike[1]?.return?.(), other.return?.()]);
    await listening(0);
    const own = [
      await live.subscribe(ada, "subscription { ownPrices { who } }"),
      await live.subscribe(ada, "subscription { ownPrices { who } }"),
    ];
    await listening(2);
    for (const events of own) await events.return?.();
    await listening(0);
  });

  it("is no stream for another session of the same person, nor for the same session at another acr", async () => {
    const ada = someone();
    const apart = [ada, { ...ada, sessionId: randomUUID() }, { ...ada, acr: "aal2" }];
    const streams = await Promise.all(apart.map((viewer) => live.subscribe(viewer)));
    await listening(apart.length);
    expect(market.begun).toBe(apart.length);
    for (const events of streams) await events.return?.();
    await listening(0);
  });

  it("is one stream for everybody where it says so, asked in nobody's name, and completed for each", async () => {
    const query = "subscription { live: allPrices { amount who product { name } } }";
    const both = [await live.subscribe(someone(), query), await live.subscribe(someone(), query)];
    await listening(1);
    market.send(1);
    for (const events of both) {
      const { value } = await events.next();
      expect(value?.data).toEqual({ live: { amount: 1, who: "anonymous", product: { name: "Lamp" } } });
    }
    expect(market.begun).toBe(1);
    for (const events of both) await events.return?.();
    await listening(0);
  });

  it("ends when its owner has no more, or refuses, or fails, each in words that a client may see", async () => {
    const ada = someone();
    const complete = await live.subscribe(ada);
    await listening(1);
    for (const listener of market.listeners) listener.end();
    expect(await endOf(complete)).toBe("COMPLETE");

    const failing = await live.subscribe(ada);
    await eventually(() => expect(market.begun).toBe(2));
    for (const listener of market.listeners) listener.end(new TypeError("secret column"));
    expect(await endOf(failing)).toBe("UNEXPECTED");

    market.refusal = new AppError("FORBIDDEN", "MARKET_CLOSED", "Not today.");
    expect(await endOf(await live.subscribe(ada))).toBe(refused);
  });

  it("goes on after an event with errors, which tells no more than its place", async () => {
    const events = await live.subscribe(someone(), "subscription { live: prices { amount who } }");
    await listening(1);
    for (const listener of market.listeners) Object.assign(listener, { who: undefined });
    market.send(Number.NaN);
    market.send(2);
    const { value: broken } = await events.next();
    expect(broken).toMatchObject({ errors: [{ path: ["live", "amount"], extensions: { reason: "UNEXPECTED" } }] });
    expect((await events.next()).value?.data).toMatchObject({ live: { amount: 2 } });
    await events.return?.();
  });

  it("ends at the next event when the session has, or the graph has it no more; else goes on by the graph that serves", async () => {
    const ada = someone();
    const events = await live.subscribe(ada);
    await listening(1);
    live.replace(MORE);
    market.send(1);
    expect((await events.next()).value).toEqual(whole(1, ada));
    live.replace(WITHOUT);
    market.send(2);
    expect(await endOf(events)).toBe("SCHEMA_CHANGED");
    await listening(0);
    live.replace(PRICES);
    const again = await live.subscribe(ada);
    await listening(1);
    live.endSession();
    market.send(3);
    expect(await endOf(again)).toBe("SESSION_ENDED");
    await listening(0);
  });

  it("goes over to the graph that serves while it says nothing, too: no former one is kept, and it ends where it is no more", async () => {
    const events = await live.subscribe(someone());
    await listening(1);
    const former = live.replace(MORE);
    setFlagsFromString("--expose-gc");
    const collect: () => void = runInNewContext("gc");
    await eventually(() => {
      collect();
      // Not the graph itself, because a failed expectation would hold it.
      expect(former.deref() === undefined).toBe(true);
    });
    live.replace(WITHOUT);
    expect(await endOf(events)).toBe("SCHEMA_CHANGED");
    await listening(0);
  });

  it("is asked of its new owner once it is another's, whoever still listens to the former one", async () => {
    const ada = someone();
    const query = "subscription { prices { who } }";
    const before = await live.subscribe(ada, query);
    await listening(1);
    live.replace(MOVED);
    const after = await live.subscribe(ada, query);
    await eventually(() => expect(market.begun).toBe(2));
    for (const events of [before, after]) await events.return?.();
    await listening(0);
  });

  it("says so when a client is so slow that it would miss something, and keeps no more for it", async () => {
    const events = await live.subscribe(someone());
    await listening(1);
    market.send(...Array.from({ length: 202 }, (_, index) => index));
    await listening(0);
    expect(await endOf(events)).toBe("EVENTS_MISSED");
  });

  it("is no more than 50 at a time for a session", async () => {
    const ada = someone();
    const most = await Promise.all(
      Array.from({ length: 50 }, (_, index) => live.subscribe(ada, LIVE, { of: [String(index)] })),
    );
    expect(await endOf(await live.subscribe(ada))).toBe("TOO_MANY_OPERATIONS");
    for (const events of most) await events.return?.();
    await listening(0);
    const events = await live.subscribe(ada);
    await listening(1);
    await events.return?.();
  });
});

describe("when the owner's socket is gone", () => {
  it("as its process was killed, what came before is told, then that something is missing; and it begins anew when it is back", async () => {
    const script = join(import.meta.dirname, "../fixtures/stock-streams.ts");
    const child = spawn(process.execPath, [script], { stdio: ["ignore", "pipe", "inherit"] });
    const [said] = await once(child.stdout, "data");
    const url = new URL(String(said));
    await using client = clientAt(url.origin);
    const live = createLive(client);
    const ada = someone();
    const events = await live.subscribe(ada);
    expect((await events.next()).value?.data).toMatchObject({ live: { amount: 1, product: { name: "Lamp" } } });
    const exited = once(child, "exit");
    child.kill("SIGKILL");
    const ended = await failureOf(events);
    // Its port is free only after the exit.
    await exited;
    expect(ended instanceof StreamError && ended.errors).toMatchObject([
      { extensions: { code: "UNAVAILABLE", reason: "EVENTS_MISSED", details: { retryAfterMs: expect.any(Number) } } },
    ]);
    // It waits for the owner.
    const again = await live.subscribe(ada);
    const next = again.next();
    const schema = stockSchema(() => market.listen("ada"));
    await using _server = await startStockServer({ schema }, Number(url.port));
    await eventually(() => expect(market.listeners.size).toBe(1));
    market.send(7);
    expect((await next).value?.data).toMatchObject({ live: { amount: 7 } });
    await again.return?.();
  });

  it("in peace too, as no client has to know why it misses something", async () => {
    await using server = await startStockServer({ schema: stockSchema(() => market.listen("ada")) });
    const live = createLive(clientAt(server.url));
    const query = "subscription { allPrices { who } }";
    const all = await Promise.all(Array.from({ length: 4 }, () => live.subscribe(someone(), query)));
    await eventually(() => expect(market.listeners.size).toBe(1));
    for (const socket of server.sockets.clients) socket.close(1000, "Normal Closure");
    const failures = await Promise.all(all.map(failureOf));
    const told = failures.flatMap((thrown) => (thrown instanceof StreamError ? thrown.errors : []));
    expect(told.map(({ extensions }) => extensions["reason"])).toEqual(all.map(() => "EVENTS_MISSED"));
    // They do not come back all at once.
    expect(new Set(told.map(({ extensions }) => JSON.stringify(extensions))).size).toBeGreaterThan(1);
    expect(market.begun).toBe(1);
  });

  it("without a word, which its silence to pings tells", async () => {
    await using server = await startStockServer({ schema: stockSchema(() => market.listen("ada")) });
    // The second message begins the subscription.
    let messages = 0;
    server.sockets.on("connection", (socket) => socket.on("message", () => (messages += 1) === 2 && socket.pause()));
    const live = createLive(clientAt(server.url, 50));
    expect(await endOf(await live.subscribe(someone()))).toBe("EVENTS_MISSED");
  });

  it("before anything began, is told once it was tried for long enough", async () => {
    const join = createStreamedOperations({ backoffMs: () => 1, beginWithinMs: 0 });
    const ended = Promise.withResolvers<unknown>();
    await using client = clientAt("http://127.0.0.1:1");
    const question = { query: "subscription { prices { who } }" };
    const scope = { caller: { kind: "anonymous" }, requestId: "r1" } as const;
    join({ sessionId: "s", key: undefined, begin: (sink) => client.subscribe(question, scope, sink) })({
      next: unused,
      end: (errors) => ended.resolve(errors),
    });
    expect(await ended.promise).toMatchObject([
      { extensions: { code: "UNAVAILABLE", reason: "SUBGRAPH_UNAVAILABLE" } },
    ]);
  });
});

it("no more are begun than a gateway may have, whoever asks; one that is there already is joined all the same", () => {
  const begun: EventSink<SubgraphAnswer>[] = [];
  const join = createStreamedOperations({ backoffMs: () => 1, perGateway: 2 });
  const ask = (key: string): { leave: () => void; told: () => unknown } => {
    let told: unknown;
    const begin = (sink: EventSink<SubgraphAnswer>) => (begun.push(sink), () => undefined);
    const leave = join({ sessionId: key, key, begin })({ next: unused, end: (errors) => (told = errors) });
    return { leave, told: () => told };
  };
  const [first, second, third, joined] = [ask("a"), ask("b"), ask("c"), ask("a")];
  expect([first, second, joined].map(({ told }) => told())).toEqual([undefined, undefined, undefined]);
  expect(third.told()).toMatchObject([
    { extensions: { code: "UNAVAILABLE", reason: "GATEWAY_FULL", details: { retryAfterMs: expect.any(Number) } } },
  ]);
  begun[1]?.end([]);
  expect(ask("c").told()).toBeUndefined();
  expect(ask("d").told()).toBeDefined();
  first.leave();
  joined.leave();
  expect(ask("d").told()).toBeUndefined();
});

it("what waits for a slow client is bounded by its length, not by how many events it is in alone", async () => {
  const answer = (): SubgraphAnswer => ({ data: { text: "x".repeat(1024 * 1024) }, errors: [], failed: false });
  let sink: EventSink<SubgraphAnswer> | undefined;
  let hasLeft = false;
  const join = (joined: EventSink<SubgraphAnswer>): (() => void) => {
    sink = joined;
    return () => void (hasLeft = true);
  };
  const complete = async ({ data }: SubgraphAnswer): Promise<Answer> => ({ data: data ?? {} });
  const events = iterate<Answer>((subscriber) => openStreamedEvents({ join, complete }, subscriber));
  // Three events at a time fit, however often.
  for (let round = 0; round < 5; round += 1) {
    for (let event = 0; event < 3; event += 1) sink?.next(answer());
    for (let event = 0; event < 3; event += 1) expect((await events.next()).done).toBe(false);
  }
  expect(hasLeft).toBe(false);
  for (let event = 0; event < 5; event += 1) sink?.next(answer());
  expect(hasLeft).toBe(true);
  expect(await endOf(events)).toBe("EVENTS_MISSED");
});

it("an owner is told who asks by a fresh statement with each ping, and nothing of the client's", async () => {
  const said: (Record<string, unknown> | undefined)[] = [];
  const sign = vi.spyOn(signer, "sign");
  const headers: string[] = [];
  await using server = await startStockServer({
    schema: stockSchema(() => market.listen("ada")),
    onConnect: ({ connectionParams }) => void said.push(connectionParams),
    onPing: (_context, payload) => void said.push(payload),
  });
  server.sockets.on("headers", (_headers, request) => headers.push(...Object.keys(request.headers)));
  const ada = someone();
  const events = await createLive(clientAt(server.url, 20)).subscribe(ada);
  await eventually(() => expect(said.length).toBeGreaterThan(2));
  await events.return?.();
  expect(sign.mock.calls.length).toBeGreaterThanOrEqual(said.length);
  for (const payload of said) {
    expect(payload).toEqual({ "x-continuo-identity": expect.any(String), "x-request-id": "r1" });
    expect(await identity.verify(String(payload?.[IDENTITY_HEADER]))).toEqual({ kind: "viewer", viewer: ada });
  }
  expect(headers.toSorted()).toEqual([
    "connection",
    "host",
    "sec-websocket-key",
    "sec-websocket-protocol",
    "sec-websocket-version",
    "upgrade",
  ]);
});
