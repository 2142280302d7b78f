import { createIdentitySigner, generateKey, IDENTITY_HEADER, REQUEST_ID_HEADER } from "@continuo/access";
import { acceptOperations } from "@continuo/operation-socket";
import { createLogger } from "@continuo/process";
import { once } from "node:events";
import { createServer, type RequestListener, type Server } from "node:http";
import type { Socket } from "node:net";
import type { Readable } from "node:stream";
import { afterEach, describe, expect, it } from "vitest";
import { eventually } from "../fixtures/eventually.ts";
import { createDataSource } from "./data-source.ts";
import type { LocalSubgraph } from "./local-subgraph.ts";
import { createSubgraphClient, type Scope, type SubgraphClient } from "./subgraph-client.ts";

const SCOPE: Scope = { caller: { kind: "anonymous" }, requestId: "r1" };
let stack = new AsyncDisposableStack();
afterEach(async () => {
  await stack.disposeAsync();
  stack = new AsyncDisposableStack();
});

/** A subgraph that answers as told, and a client for it. */
async function serve(
  answer: RequestListener,
  answerWithinMs = 30_000,
): Promise<{ client: SubgraphClient; server: Server; asked: () => number }> {
  let asked = 0;
  const server = createServer((request, response) => {
    // It accepts no WebSockets.
    if (request.headers.upgrade !== undefined) return response.writeHead(404).end();
    asked += 1;
    answer(request, response);
  }).listen(0, "127.0.0.1");
  stack.defer(async () => {
    server.close();
    server.closeAllConnections();
  });
  await once(server, "listening");
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  const { privateJwk } = await generateKey("Ed25519");
  const client = stack.use(
    createSubgraphClient({
      name: "films",
      at: `http://127.0.0.1:${port}`,
      signer: createIdentitySigner(privateJwk),
      logger: createLogger({ name: "test", level: "silent" }),
      answerWithinMs,
    }),
  );
  return { client, server, asked: () => asked };
}

/** A client for a subgraph in this process. */
async function within(subgraph: Partial<LocalSubgraph>, answerWithinMs = 1_000): Promise<SubgraphClient> {
  const absent = async (): Promise<never> => Promise.reject(new Error("not there"));
  const { privateJwk } = await generateKey("Ed25519");
  return createSubgraphClient({
    name: "films",
    at: { graphql: absent, subscribe: absent, send: absent, stream: absent, ...subgraph },
    signer: createIdentitySigner(privateJwk),
    logger: createLogger({ name: "test", level: "silent" }),
    answerWithinMs,
  });
}

const unavailable = {
  data: null,
  errors: [{ extensions: { code: "UNAVAILABLE", reason: "SUBGRAPH_UNAVAILABLE" } }],
  failed: true,
};
const unexpected = { data: null, errors: [{ extensions: { code: "INTERNAL_SERVER_ERROR", reason: "UNEXPECTED" } }] };

it("sends a read again when its connection breaks", async () => {
  let isBroken = true;
  const { client, asked } = await serve((request, response) => {
    if (isBroken) request.socket.destroy();
    else response.end(`{"data":{"a":1}}`);
    isBroken = false;
  });
  expect(await client.graphql({ query: "query { a }" }, SCOPE)).toEqual({ data: { a: 1 }, errors: [], failed: false });
  expect(asked()).toBe(2);
});

it("never sends a mutation again", async () => {
  const { client, asked } = await serve((request) => void request.socket.destroy());
  expect(await client.graphql({ query: "mutation { a }" }, SCOPE)).toMatchObject(unavailable);
  expect(asked()).toBe(1);
});

it("waits no longer than its deadline", async () => {
  const { client, asked } = await serve(() => undefined, 1_000);
  expect(await client.graphql({ query: "{ a }" }, SCOPE)).toMatchObject(unavailable);
  expect(asked()).toBe(1);
});

it("waits no longer for an answer that comes a little at a time, and closes its connection", async () => {
  let left = 0;
  const { client, asked } = await serve((_request, response) => {
    response.write("{");
    const dripping = setInterval(() => response.write(" "), 100);
    response.once("close", () => {
      clearInterval(dripping);
      left += 1;
    });
  }, 1_000);
  expect(await client.graphql({ query: "{ a }" }, SCOPE)).toMatchObject(unavailable);
  expect(asked()).toBe(1);
  await eventually(() => expect(left).toBe(1));
});

it("tells of so many errors at most, and those without a place in few places", async () => {
  const { client } = await serve((_request, response) =>
    response.end(JSON.stringify({ data: { _entities: [] }, errors: Array.from({ length: 20_000 }, () => ({})) })),
  );
  expect((await client.graphql({ query: "{ a }" }, SCOPE)).errors).toHaveLength(1_000);
  const variables = { representations: Array.from({ length: 300 }, () => ({ __typename: "A" })) };
  const ask = createDataSource(client);
  const placed = await ask({ query: "{ _entities { a } }", operationName: undefined, variables, waitMs: 0 }, SCOPE);
  expect(placed.errors).toHaveLength(3_000);
});

it("waits no longer than that for a connection either, while others hold them all", async () => {
  const { client, asked } = await serve(() => undefined, 1_000);
  const answers = await Promise.all(Array.from({ length: 200 }, () => client.graphql({ query: "{ a }" }, SCOPE)));
  for (const answer of answers) expect(answer).toMatchObject(unavailable);
  // The other requests failed before they got a connection.
  expect(asked()).toBeLessThan(200);
});

it("waits no longer than that for what may be long to begin, nor for a connection for it; what has begun goes on", async () => {
  const { client, asked } = await serve(({ url }, response) => {
    if (url !== "/long") return;
    const dripping = setInterval(() => response.write("line\n"), 50);
    response.once("close", () => clearInterval(dripping));
  }, 1_000);
  const begin = async (path = "/long"): Promise<Readable> => (await client.stream(path, SCOPE)).body;
  const late = { code: "UNAVAILABLE", reason: "SUBGRAPH_UNAVAILABLE" };
  await expect(begin("/silent")).rejects.toMatchObject(late);
  const [left, ...others] = await Promise.all(Array.from({ length: 16 }, () => begin()));
  await expect(begin()).rejects.toMatchObject(late);
  expect(asked()).toBe(17);
  left?.destroy();
  others.push(await begin());
  expect(others.filter(({ destroyed }) => destroyed)).toEqual([]);
});

it("stops when nobody waits any more", async () => {
  const aborting = new AbortController();
  const { client } = await serve(() => aborting.abort());
  expect(await client.graphql({ query: "{ a }" }, { ...SCOPE, signal: aborting.signal })).toMatchObject(unavailable);
});

it("goes on with a mutation when nobody waits any more", async () => {
  const aborting = new AbortController();
  const { client } = await serve((_request, response) => {
    aborting.abort();
    response.end(`{"data":{"a":1}}`);
  });
  const scope = { ...SCOPE, signal: aborting.signal };
  expect(await client.graphql({ query: "mutation { a }" }, scope)).toMatchObject({ data: { a: 1 } });
});

it("is told why what may be long is refused, with all that a client needs to know", async () => {
  const extensions = { code: "STEP_UP_REQUIRED", reason: "AUTHENTICATION_TOO_OLD", details: { maxAge: 300 } };
  const refusal = JSON.stringify({ errors: [{ message: "Sign in again.", extensions }] });
  const { client } = await serve((_request, response) => response.writeHead(403).end(refusal));
  await expect(client.stream("/long", SCOPE)).rejects.toMatchObject({ message: "Sign in again.", ...extensions });
});

it("takes no refusal for an answer to the gateway itself", async () => {
  const { client } = await serve((_request, response) => response.writeHead(404).end(`{"keys":[]}`));
  await expect(client.get("/keys")).rejects.toMatchObject({ reason: "SUBGRAPH_UNAVAILABLE" });
  expect(await client.isReady()).toBe(false);
});

it("stops when nobody waits any more for a connection either", async () => {
  const aborting = new AbortController();
  let held = 0;
  const { client, asked } = await serve(() => {
    held += 1;
    if (held === 64) aborting.abort();
  });
  const ask = (scope = SCOPE): ReturnType<typeof client.graphql> => client.graphql({ query: "{ a }" }, scope);
  const holding = Array.from({ length: 64 }, () => ask());
  expect(await ask({ ...SCOPE, signal: aborting.signal })).toMatchObject(unavailable);
  expect(asked()).toBe(64);
  await client[Symbol.asyncDispose]();
  await Promise.all(holding);
});

it.each([
  ["a proxy's error page", 502, "<html>", unavailable],
  ["something that is not GraphQL", 200, "<html>", unexpected],
  ["JSON that is not GraphQL", 200, "[]", unexpected],
  ["an answer beyond the size limit", 200, `{"data":{"a":"${"x".repeat(9 * 1024 * 1024)}"}}`, unexpected],
])("takes %s for a failure", async (_what, status, body, answer) => {
  const { client } = await serve((_request, response) => response.writeHead(status).end(body));
  expect(await client.graphql({ query: "{ a }" }, SCOPE)).toMatchObject(answer);
});

it.each([
  ["INTERNAL_IDENTITY_REQUIRED", "UNAUTHENTICATED"],
  ["DOCUMENT_INVALID", "BAD_USER_INPUT"],
])("does not blame the client for %s", async (reason, code) => {
  const refusal = JSON.stringify({ errors: [{ message: "inner words", extensions: { code, reason } }] });
  const { client } = await serve((_request, response) => response.writeHead(400).end(refusal));
  const answer = await client.graphql({ query: "{ a }" }, SCOPE);
  expect(answer).toMatchObject(unexpected);
  expect(JSON.stringify(answer)).not.toContain("inner words");
});

it("drops codes that are not ours, what a bug says, and everything in extensions that nobody named", async () => {
  const errors = [
    { message: "m", path: ["a"], extensions: { code: "DOWNSTREAM", reason: "X", stacktrace: ["at secret.ts"] } },
    {
      message: "m",
      path: ["b"],
      extensions: { code: "CONFLICT", reason: "MOVED", details: { rev: 1 }, stacktrace: [] },
    },
    { message: "SELECT secret", path: ["c"], extensions: { code: "INTERNAL_SERVER_ERROR", reason: "SQL" } },
  ];
  const masked = {
    message: "Something went wrong on our side.",
    extensions: { code: "INTERNAL_SERVER_ERROR", reason: "UNEXPECTED" },
  };
  const { client } = await serve((_request, response) => response.end(JSON.stringify({ data: {}, errors })));
  expect((await client.graphql({ query: "{ a }" }, SCOPE)).errors).toEqual([
    { ...masked, path: ["a"] },
    { message: "m", path: ["b"], extensions: { code: "CONFLICT", reason: "MOVED", details: { rev: 1 } } },
    { ...masked, path: ["c"] },
  ]);
});

describe("a subgraph in this process", () => {
  it("is asked as the caller, and its errors are judged like those of any other", async () => {
    const asked: unknown[] = [];
    const errors = [
      { message: "inner words", path: ["b"], extensions: { code: "DOWNSTREAM" } },
      { message: "Read it again.", path: ["c"], extensions: { code: "CONFLICT", reason: "MOVED" } },
    ];
    const client = await within({
      graphql: async (...given) => {
        asked.push(given);
        return { data: { a: 1 }, errors };
      },
    });
    const request = { query: "query A { a }", variables: { b: 2 }, operationName: "A" };
    expect(await client.graphql({ ...request, waitMs: 5, heard: 7 }, SCOPE)).toEqual({
      data: { a: 1 },
      errors: [
        {
          message: expect.not.stringContaining("inner"),
          path: ["b"],
          extensions: { code: "INTERNAL_SERVER_ERROR", reason: "UNEXPECTED" },
        },
        errors[1],
      ],
      failed: false,
    });
    expect(asked).toEqual([[request, { ...SCOPE, signal: expect.any(AbortSignal), heard: 7 }]]);
  });

  it("hears that nobody waits any more for a read, and nothing of it for a mutation", async () => {
    const leaving = new AbortController();
    const signals: (AbortSignal | undefined)[] = [];
    const answered = Promise.withResolvers<{ data: {} }>();
    const client = await within({
      graphql: (_request, scope) => {
        signals.push(scope.signal);
        return answered.promise;
      },
    });
    const scope = { ...SCOPE, signal: leaving.signal };
    const asked = ["{ a }", "mutation { a }"].map((query) => client.graphql({ query }, scope));
    leaving.abort();
    asked.push(client.graphql({ query: "{ b }" }, scope));
    expect(signals.map((signal) => signal?.aborted)).toEqual([true, false, true]);
    answered.resolve({ data: {} });
    await Promise.all(asked);
  });

  it("hears that its time is up, so that it does not go on for nobody", async () => {
    const signals: (AbortSignal | undefined)[] = [];
    const client = await within(
      {
        graphql: (_request, scope) => {
          signals.push(scope.signal);
          return new Promise(() => undefined);
        },
      },
      20,
    );
    await Promise.all(["{ a }", "mutation { a }"].map((query) => client.graphql({ query }, SCOPE)));
    expect(signals.map((signal) => signal?.aborted)).toEqual([true, true]);
  });

  it("is waited for no longer than any other, and its fault is an outage", async () => {
    const never = new Promise<never>(() => undefined);
    const late = await within({ graphql: () => never, send: () => never }, 20);
    expect(await late.graphql({ query: "{ a }" }, SCOPE)).toMatchObject(unavailable);
    await expect(late.post("/internal", {})).rejects.toMatchObject({ reason: "SUBGRAPH_UNAVAILABLE" });
    expect(await (await within({})).graphql({ query: "{ a }" }, SCOPE)).toMatchObject(unavailable);
  });
});

describe("over a socket", () => {
  /** A subgraph of ours, whose operations are answered as told; `overHttp` counts those that came so. */
  async function serveBoth(answer: (query: string) => Promise<Record<string, unknown>>) {
    let overHttp = 0;
    const streams: Socket[] = [];
    const route = acceptOperations({
      admit: async () => undefined,
      async answer({ query, headers: { [REQUEST_ID_HEADER]: id, ...others } }) {
        return { data: { ...(await answer(query)), id, others: Object.keys(others) } };
      },
      logger: createLogger({ name: "test", level: "silent" }),
    });
    const { client, server } = await serve((_request, response) => {
      overHttp += 1;
      response.end(`{"data":{"http":true}}`);
    });
    server.on("upgrade", (request, stream: Socket, head) => {
      streams.push(stream);
      route.take(request, stream, head);
    });
    stack.use(route);
    await eventually(async () => {
      const { data } = await client.graphql({ query: "{ ready }" }, SCOPE);
      expect(data).not.toHaveProperty("http");
    });
    overHttp = 0;
    return { client, streams, overHttp: () => overHttp };
  }

  it("asks, once one is open, in the name of each caller", async () => {
    const { client, overHttp } = await serveBoth(async (query) => ({ query }));
    const asked = ["r1", "r2"].map((requestId) => client.graphql({ query: "{ a }" }, { ...SCOPE, requestId }));
    expect((await Promise.all(asked)).map(({ data }) => data)).toEqual([
      { query: "{ a }", id: "r1", others: [IDENTITY_HEADER] },
      { query: "{ a }", id: "r2", others: [IDENTITY_HEADER] },
    ]);
    expect(overHttp()).toBe(0);
  });

  it("sends a read again over HTTP when the socket breaks, a mutation never, and what waits always goes so", async () => {
    const { client, streams, overHttp } = await serveBoth(async (query) =>
      query === "{ ready }" ? {} : new Promise(() => {}),
    );
    const change = client.graphql({ query: "mutation { a }" }, SCOPE);
    const read = client.graphql({ query: "query { a }" }, SCOPE);
    const wait = client.graphql({ query: "query { a }", waitMs: 100 }, SCOPE);
    expect((await wait).data).toEqual({ http: true });
    for (const stream of streams) stream.destroy();
    expect(await change).toMatchObject(unavailable);
    expect((await read).data).toEqual({ http: true });
    expect(overHttp()).toBe(2);
  });
});
