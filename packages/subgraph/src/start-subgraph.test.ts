/** A small subgraph over loopback HTTP, called as the gateway calls one. */
import {
  createIdentitySigner,
  createIdentityVerifier,
  generateKey,
  IDENTITY_HEADER,
  REQUEST_ID_HEADER,
  type Caller,
} from "@continuo/access";
import { AppError } from "@continuo/errors";
import { createHealth, createLogger } from "@continuo/process";
import { parse } from "graphql";
import { createServer, type AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import {
  DateTime,
  parseInput,
  requireService,
  requireViewer,
  startSubgraph,
  type Subgraph,
  type SubgraphContext,
} from "./index.ts";

const typeDefs = parse(`
  extend schema @link(url: "https://specs.apollo.dev/federation/v2.9", import: ["@key"])
  type Thing @key(fields: "id") { id: ID! name: String! }
  type Query {
    whoAmI: String!
    viewerOnly: String
    serviceOnly: String
    requestId: String!
    parsed(name: String!): String
    bug: String
    refused: String
    slow: String
    thing: Thing
    at: DateTime!
  }
  scalar DateTime
`);
const SECRET = "select password from users at /srv/app/secret.ts:12";
const keys = await generateKey("Ed25519");
const gateway = createIdentitySigner(keys.privateJwk);
const ada: Caller = {
  kind: "viewer",
  viewer: {
    userId: newId(1),
    sessionId: newId(2),
    deviceId: newId(3),
    applicationId: "continuo",
    acr: "aal1",
    amr: ["pwd"],
    authTime: 0,
  },
};

function newId(n: number): string {
  return `0199a1c2-0000-7000-8000-00000000000${n}`;
}

interface Gate {
  readonly entered: Promise<void>;
  readonly enter: () => void;
  readonly left: Promise<void>;
  readonly leave: () => void;
}

function createGate(): Gate {
  const [entered, left] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  return { entered: entered.promise, enter: entered.resolve, left: left.promise, leave: left.resolve };
}

const silent = createLogger({ name: "sample", level: "silent" });

async function start(gate: Gate = createGate(), port = 0, logger = silent) {
  const health = createHealth();
  const subgraph = await startSubgraph<SubgraphContext>({
    name: "sample",
    host: "127.0.0.1",
    port,
    typeDefs,
    resolvers: {
      DateTime,
      Query: {
        at: () => new Date(0),
        whoAmI: (_root, _args, { caller }: SubgraphContext) => JSON.stringify(caller),
        viewerOnly: (_root, _args, context: SubgraphContext) => requireViewer(context).userId,
        serviceOnly: (_root, _args, { caller }: SubgraphContext) => requireService(caller),
        requestId: (_root, _args, { requestId }: SubgraphContext) => requestId,
        parsed: (_root, input) =>
          parseInput(z.object({ name: z.string().min(3, "at least three letters") }), input).name,
        bug: () => {
          throw new Error(SECRET);
        },
        refused: () => {
          throw new AppError("CONFLICT", "MOVED_ON", "Read it again.", {
            details: { rev: 7 },
            cause: new Error(SECRET),
          });
        },
        slow: async () => {
          gate.enter();
          await gate.left;
          return "finished";
        },
        thing: () => ({ id: "1", name: "one" }),
      },
      Thing: {
        __resolveReference: ({ id }: { id: string }) => {
          if (id === "throws") throw new Error(SECRET);
          if (id === "refuses") throw new AppError("NOT_FOUND", "THING_UNKNOWN", "No such thing.");
          return id === "absent" ? null : { id, name: `thing ${id}` };
        },
      },
    },
    identity: createIdentityVerifier(keys.publicJwk),
    health,
    logger,
    context: (base) => base,
    maxEntities: 5,
    routes: (http, callerOf) => {
      http.get("/public", () => ({ open: true }));
      http.get("/internal", async (request) => ({ name: requireService(await callerOf(request)) }));
    },
  });
  return { subgraph, health };
}

let subgraph: Subgraph;
let base: string;
beforeAll(async () => {
  ({ subgraph } = await start());
  base = new URL(subgraph.url).origin;
});
afterAll(async () => subgraph[Symbol.asyncDispose]());

interface Answer {
  readonly status: number;
  readonly text: string;
  readonly body: { data?: unknown; errors?: { message: string; path?: unknown; extensions: unknown }[] };
}

async function send(body: string, headers: Record<string, string> = {}, to = subgraph.url): Promise<Answer> {
  const response = await fetch(to, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body,
  });
  const text = await response.text();
  return { status: response.status, text, body: JSON.parse(text) };
}

async function ask(
  query: string,
  {
    caller = ada,
    variables = {},
    headers = {},
    to = subgraph.url,
  }: {
    caller?: Caller;
    variables?: Record<string, unknown>;
    headers?: Record<string, string>;
    to?: string;
  } = {},
): Promise<Answer> {
  return send(JSON.stringify({ query, variables }), { [IDENTITY_HEADER]: await gateway.sign(caller), ...headers }, to);
}

const extensions = (answer: Answer): unknown[] => (answer.body.errors ?? []).map((error) => error.extensions);

describe("a caller", () => {
  test.each<[string, Caller]>([
    ["a person", ada],
    ["nobody in particular", { kind: "anonymous" }],
    ["a service", { kind: "service", name: "gateway" }],
  ])("vouched for by the gateway is %s to every resolver", async (_case, caller) => {
    const { body } = await ask("{ whoAmI }", { caller });
    expect(body).toEqual({ data: { whoAmI: JSON.stringify(caller) } });
  });

  test("signed with another key is refused, and the log says that it is the signature", async () => {
    const why: unknown[] = [];
    const logger: typeof silent = Object.create(silent, {
      child: { value: () => logger },
      warn: { value: ({ err }: { err: Error }) => why.push(err.cause) },
    });
    const started = await start(createGate(), 0, logger);
    await using _ = started.subgraph;
    const stranger = createIdentitySigner((await generateKey("Ed25519")).privateJwk);
    const { status } = await fetch(new URL("/internal", started.subgraph.url), {
      headers: { [IDENTITY_HEADER]: await stranger.sign({ kind: "service", name: "gateway" }) },
    });
    expect(status).toBe(401);
    expect(why.map(String)).toEqual([expect.stringContaining("signature verification failed")]);
  });

  test.each([
    ["no identity", {}],
    ["a bearer token", { authorization: "Bearer abc" }],
    ["an identity in clear", { [IDENTITY_HEADER]: '{"kind":"service","sub":"gateway"}' }],
  ])("with %s is refused before the body is even looked at", async (_case, headers: Record<string, string>) => {
    const answer = await send("{ not json", headers);
    expect(answer.status).toBe(401);
    expect(extensions(answer)).toEqual([
      { code: "UNAUTHENTICATED", reason: "INTERNAL_IDENTITY_REQUIRED", requestId: expect.any(String) },
    ]);
    expect(answer.body.data).toBeUndefined();
  });

  test("of the wrong kind is told which kind it takes", async () => {
    expect(extensions(await ask("{ viewerOnly }", { caller: { kind: "anonymous" } }))).toEqual([
      { code: "UNAUTHENTICATED", reason: "SIGN_IN_REQUIRED" },
    ]);
    expect(extensions(await ask("{ serviceOnly }"))).toEqual([{ code: "FORBIDDEN", reason: "SERVICE_ONLY" }]);
  });

  test("of a further route is verified there alike; a public one asks nobody", async () => {
    expect(await (await fetch(`${base}/public`)).json()).toEqual({ open: true });
    expect((await fetch(`${base}/internal`)).status).toBe(401);
    const person = await fetch(`${base}/internal`, { headers: { [IDENTITY_HEADER]: await gateway.sign(ada) } });
    expect(person.status).toBe(403);
    const service = await gateway.sign({ kind: "service", name: "gateway" });
    const allowed = await fetch(`${base}/internal`, { headers: { [IDENTITY_HEADER]: service } });
    expect(await allowed.json()).toEqual({ name: "gateway" });
  });
});

describe("an error", () => {
  test("that is a bug is masked: neither its words nor a stack leave the service", async () => {
    const answer = await ask("{ bug }");
    expect(answer.body.errors).toEqual([
      {
        message: "Something went wrong on our side.",
        path: ["bug"],
        locations: expect.any(Array),
        extensions: { code: "INTERNAL_SERVER_ERROR", reason: "UNEXPECTED" },
      },
    ]);
    expect(answer.text).not.toMatch(/select|secret\.ts|stack/);
  });

  test("meant for the client arrives with code, reason and details, without its cause", async () => {
    const answer = await ask("{ refused }");
    expect(answer.body.errors).toMatchObject([{ message: "Read it again." }]);
    expect(extensions(answer)).toEqual([{ code: "CONFLICT", reason: "MOVED_ON", details: { rev: 7 } }]);
    expect(answer.text).not.toContain("select");
  });

  test("of one field leaves the others alone", async () => {
    expect((await ask("{ bug requestId }", { headers: { [REQUEST_ID_HEADER]: "r-1" } })).body.data).toEqual({
      bug: null,
      requestId: "r-1",
    });
  });

  test("of input says where it is and what is wrong", async () => {
    expect(extensions(await ask('{ parsed(name: "ab") }'))).toEqual([
      {
        code: "BAD_USER_INPUT",
        reason: "INPUT_INVALID",
        details: { issues: [{ path: "name", message: "at least three letters" }] },
      },
    ]);
  });

  test.each([
    ["does not parse", "{ whoAmI", {}, "DOCUMENT_INVALID"],
    ["asks for what is not there", "{ shoeSize }", {}, "DOCUMENT_INVALID"],
    ["asks for the schema", "{ __schema { __typename } }", {}, "DOCUMENT_INVALID"],
    [
      "brings a variable of the wrong type",
      "query ($name: String!) { parsed(name: $name) }",
      { name: 7 },
      "VARIABLES_INVALID",
    ],
    ["lacks a variable", "query ($name: String!) { parsed(name: $name) }", {}, "VARIABLES_INVALID"],
  ])("of a document that %s is the caller's", async (_case, query, variables, reason) => {
    expect(extensions(await ask(query, { variables }))).toEqual([{ code: "BAD_USER_INPUT", reason }]);
  });

  test("of what is refused before anything is run is counted like any other", async () => {
    const counted = async (): Promise<number> => {
      const lines = (await (await fetch(`${base}/metrics`)).text()).split("\n");
      const refused = lines.filter((line) => /^continuo_operation_duration_seconds_count\{.*"none"/.test(line));
      return refused.reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
    };
    const before = await counted();
    await ask("{ shoeSize }");
    expect(await counted()).toBe(before + 1);
  });

  test.each([
    ["is not JSON", "{ not json", {}, 400, "REQUEST_INVALID"],
    ["is no GraphQL request", "[]", {}, 400, "REQUEST_INVALID"],
    ["is of another type", "a=1", { "content-type": "text/csv" }, 415, "REQUEST_INVALID"],
    ["is larger than a mebibyte", JSON.stringify({ query: "x".repeat(1024 * 1024) }), {}, 413, "BODY_TOO_LARGE"],
  ])(
    "of a body that %s has a code and a reason",
    async (_case, body, headers: Record<string, string>, status, reason) => {
      const answer = await send(body, { [IDENTITY_HEADER]: await gateway.sign(ada), ...headers });
      expect(answer.status).toBe(status);
      expect(extensions(answer)).toEqual([expect.objectContaining({ code: "BAD_USER_INPUT", reason })]);
      expect(answer.text).not.toMatch(/stack|node_modules|FST_/);
    },
  );

  test("of a path or method that is not there has a code and a reason", async () => {
    const absent = await fetch(`${base}/absent`);
    expect(absent.status).toBe(404);
    expect(await absent.json()).toMatchObject({
      errors: [{ extensions: { code: "NOT_FOUND", reason: "ROUTE_UNKNOWN" } }],
    });
    expect((await fetch(subgraph.url, { method: "GET" })).status).toBe(404);
  });
});

test("an entity that fails, fails alone", async () => {
  const representations = ["a", "throws", "absent", "refuses", "b"].map((id) => ({ __typename: "Thing", id }));
  const query =
    "query ($representations: [_Any!]!) { _entities(representations: $representations) { ... on Thing { name } } }";
  const answer = await ask(query, { variables: { representations } });
  expect(answer.body.data).toEqual({ _entities: [{ name: "thing a" }, null, null, null, { name: "thing b" }] });
  expect(answer.body.errors).toMatchObject([
    { path: ["_entities", 1], extensions: { code: "INTERNAL_SERVER_ERROR" } },
    { path: ["_entities", 3], extensions: { code: "NOT_FOUND", reason: "THING_UNKNOWN" } },
  ]);
});

test("more entities than one call may ask for are refused before any is looked for", async () => {
  const representations = ["a", "b", "c", "d", "e", "throws"].map((id) => ({ __typename: "Thing", id }));
  const query =
    "query ($representations: [_Any!]!) { _entities(representations: $representations) { ... on Thing { name } } }";
  const { body } = await ask(query, { variables: { representations } });
  expect(body.errors).toEqual([
    expect.objectContaining({
      extensions: { code: "BAD_USER_INPUT", reason: "TOO_MANY_ENTITIES", details: { allowed: 5, asked: 6 } },
    }),
  ]);
});

describe("for a gateway in the same process", () => {
  const scope = { caller: ada, requestId: "r-local" };

  test.each([
    ["an answer", "{ whoAmI requestId at }", {}],
    ["an error of ours", "{ refused }", {}],
    ["a bug, masked", "{ bug }", {}],
    ["a document that is not valid", "{ shoeSize }", {}],
    ["a variable that is not valid", "query ($name: String!) { parsed(name: $name) }", { name: 7 }],
  ])("%s is the same as over HTTP", async (_case, query, variables) => {
    const overHttp = await ask(query, { variables, headers: { [REQUEST_ID_HEADER]: "r-local" } });
    const local = await subgraph.local.graphql({ query, variables }, scope);
    expect(local).toEqual(overHttp.body);
  });

  test("a further route wants the same statement, and says as much as over HTTP", async () => {
    const request = { method: "GET", path: "/internal" } as const;
    expect(await subgraph.local.send({ ...request, headers: {} })).toMatchObject({ status: 401 });
    const headers = { [IDENTITY_HEADER]: await gateway.sign({ kind: "service", name: "gateway" }) };
    const reply = await subgraph.local.send({ ...request, headers });
    expect(reply).toMatchObject({ status: 200, text: '{"name":"gateway"}' });
    expect(reply.header("content-type")).toMatch(/^application\/json/);
    const { body, ...said } = await subgraph.local.stream({ path: "/internal", headers });
    expect(said).toMatchObject({ status: 200, contentType: reply.header("content-type") });
    expect(await text(body)).toBe(reply.text);
  });
});

describe("a request id", () => {
  test("given by the gateway is kept; anything that could forge a log line is replaced", async () => {
    const given = async (value: string): Promise<unknown> =>
      (await ask("{ requestId }", { headers: { [REQUEST_ID_HEADER]: value } })).body.data;
    expect(await given("0199a1c2-abc_7")).toEqual({ requestId: "0199a1c2-abc_7" });
    for (const value of ["", "a b", '"}{"x":1', "x".repeat(65)]) {
      expect(await given(value)).toEqual({ requestId: expect.stringMatching(/^[\da-f-]{36}$/) });
    }
  });

  test("comes back with a refusal", async () => {
    expect(extensions(await send("{}", { [REQUEST_ID_HEADER]: "r-2" }))).toEqual([
      expect.objectContaining({ requestId: "r-2" }),
    ]);
  });
});

describe("starting and stopping", () => {
  test("a live process may yet be unready, and says of what it waits for", async () => {
    const { subgraph, health } = await start();
    await using _closing = subgraph;
    const origin = new URL(subgraph.url).origin;
    expect((await fetch(`${origin}/ready`)).status).toBe(200);
    health.add("database", async () => false);
    const answer = await fetch(`${origin}/ready`);
    expect(answer.status).toBe(503);
    expect(await answer.json()).toEqual({ ready: false, checks: { database: "not ready" } });
    expect((await fetch(`${origin}/live`)).status).toBe(200);
  });

  test("closing turns readiness off at once, finishes what is under way, and takes nothing new", async () => {
    const gate = createGate();
    const { subgraph, health } = await start(gate);
    const underWay = ask("{ slow }", { to: subgraph.url });
    await gate.entered;
    const closed = subgraph[Symbol.asyncDispose]();
    expect(await health.ready()).toMatchObject({ ready: false });
    await expect
      .poll(async () =>
        fetch(subgraph.url).then(
          () => "taken",
          () => "refused",
        ),
      )
      .toBe("refused");
    gate.leave();
    expect((await underWay).body).toEqual({ data: { slow: "finished" } });
    await closed;
  });

  test("a port that is taken is refused, and leaves nothing behind", async () => {
    const blocker = createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => blocker.once("listening", resolve));
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a listening TCP server has one
    const { port } = blocker.address() as AddressInfo;
    await expect(start(createGate(), port)).rejects.toMatchObject({ code: "E_PORT_BUSY" });
    await new Promise((resolve) => blocker.close(resolve));
    const { subgraph } = await start(createGate(), port);
    await subgraph[Symbol.asyncDispose]();
  });
});
