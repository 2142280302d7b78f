/**
 * Operations designed to exhaust the gateway: refused before any subgraph is called, on every transport, while other
 * clients are served.
 */
import { once } from "node:events";
import { connect } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type House, startHouse } from "./fixtures/house.ts";
import { createTestClient } from "./fixtures/socket-client.ts";
import { eventually } from "./fixtures/eventually.ts";

const repeat = (count: number, make: (index: number) => string): string =>
  Array.from({ length: count }, (_, index) => make(index)).join(" ");
const nested = (depth: number): string => `${"... { ".repeat(depth)} __typename ${"} ".repeat(depth)}`;

/** Valid but for their size, where the graph allows that. */
const BOMBS: [what: string, reason: string, text: string][] = [
  ["depth", "OPERATION_TOO_DEEP", `{ viewer ${"{ device { viewer ".repeat(30)} { __typename } ${"} }".repeat(30)} }`],
  ["fragments within fragments", "NESTED_TOO_DEEPLY", `{ ${nested(1_200)} }`],
  ["aliases", "TOO_MANY_ALIASES", `{ viewer { user { ${repeat(500, (index) => `a${index}: id`)} } } }`],
  ["fields at the root", "TOO_MANY_ROOT_FIELDS", `{ ${repeat(400, () => "me { id }")} }`],
  ["one field again and again", "TOO_MANY_SELECTIONS", `{ me { ${repeat(4_000, () => "id")} } }`],
  ["directives", "TOO_MANY_DIRECTIVES", `{ me { id ${repeat(400, () => "@include(if: true)")} } }`],
  [
    "fragments that double",
    "TOO_MANY_SELECTIONS",
    `{ me { ...F0 } } ${repeat(60, (step) => `fragment F${step} on User { ...F${step + 1} ...F${step + 1} }`)} fragment F60 on User { id }`,
  ],
  [
    "fragments in a circle",
    "DOCUMENT_INVALID",
    `{ me { ...A } } fragment A on User { ...B } fragment B on User { ...A }`,
  ],
  ["tokens", "TOO_MANY_TOKENS", `{ me { ${repeat(20_000, () => "id")} } }`],
  ["lines, each of which is counted again for each fault", "TOO_MANY_TOKENS", `{${"\n".repeat(6_000)} a b c }`],
  ["blanks", "TEXT_TOO_LONG", `{${",".repeat(150_000)} a }`],
  [
    "a literal as deep as a text may be",
    "NESTED_TOO_DEEPLY",
    `{ nothing(at: ${"[".repeat(2_400)}${"]".repeat(2_400)}) }`,
  ],
  [
    "fields within fields, each with an argument",
    "NESTED_TOO_DEEPLY",
    `${"{ nothing(at: 1) ".repeat(300)}${"}".repeat(300)}`,
  ],
  ["long lists", "OPERATION_TOO_COSTLY", `{ pullState(first: 1000000) { entries { key } } }`],
  [
    "lists in lists",
    "OPERATION_TOO_COSTLY",
    `{ viewer { devices(first: 100) { nodes { sessions { device { sessions { device { sessions { id } } } } } } } } }`,
  ],
];

describe("a bomb", () => {
  let house: House;
  let token: string;
  let over: AbortController;
  let served: Promise<number>;
  beforeAll(async () => {
    house = await startHouse();
  });
  afterAll(() => house[Symbol.asyncDispose]());
  beforeEach(async () => {
    token = await house.token(house.join());
    house.state.calls.length = 0;
    over = new AbortController();
    served = serveMeanwhile();
  });
  afterEach(async () => {
    over.abort();
    if ((await served) === 0) throw new Error("nobody else was served");
  });

  /** An honest client keeps sending, to identity only, and is answered each time. */
  async function serveMeanwhile(): Promise<number> {
    const honest = await house.token(house.join());
    let answered = 0;
    do {
      const { body } = await house.graphql(`{ me { createdAt } }`, {
        token: honest,
        headers: { "x-request-id": "honest" },
      });
      expect(body.errors).toBeUndefined();
      answered += 1;
      await delay(20);
    } while (!over.signal.aborted);
    return answered;
  }

  const calls = (): object[] => house.state.calls.filter(({ requestId }) => requestId !== "honest");

  describe("is refused before any subgraph is asked, over HTTP, WebSocket and event stream alike:", () => {
    it.each(BOMBS)("%s", async (_what, reason, query) => {
      const refusal = { extensions: { code: "BAD_USER_INPUT", reason, requestId: expect.any(String) } };
      const { status, body } = await house.graphql(query, { token });
      expect(status).toBe(400);
      expect(body.errors?.[0]).toMatchObject(refusal);

      await using client = createTestClient(house.socketUrl, token);
      const run = client.run(query);
      await eventually(() => expect(run.failure() ?? run.results[0]).toBeDefined());
      expect([run.failure(), run.results[0]?.errors]).toContainEqual([
        expect.objectContaining({ extensions: expect.objectContaining({ reason }) }),
      ]);

      const stream = await fetch(`${house.url}/graphql/stream`, {
        method: "POST",
        headers: { accept: "text/event-stream", "content-type": "application/json", authorization: `Bearer ${token}` },
        body: JSON.stringify({ query }),
      });
      expect(await stream.text()).toContain(`"reason":"${reason}"`);
      expect(calls()).toEqual([]);
    });
  });

  it("says what is allowed and what was asked, also of a variable's value", async () => {
    const query = `query ($first: Int!) { pullState(first: $first) { entries { key } } }`;
    const refused = await house.graphql(query, { token, variables: { first: 20_000 } });
    expect(refused.body.errors?.[0]?.extensions).toMatchObject({
      reason: "OPERATION_TOO_COSTLY",
      details: { allowed: 10_000, asked: 20_001 },
    });
    expect(calls()).toEqual([]);
    expect((await house.graphql(query, { token, variables: { first: 500 } })).body.errors).toBeUndefined();
  });

  it("of variables within variables is the client's fault, and no outage", async () => {
    const query = `mutation ($input: PushStateInput!) { pushState(input: $input) { headRev } }`;
    const op = {
      seq: 1,
      namespace: "preferences",
      key: "k",
      field: "f",
      stamp: { ms: 1, counter: 0 },
      baseRev: 0,
      payload: { type: "SET", value: "DEEP" },
    };
    const input = { clientId: "c", epoch: "e", clientNow: 1, baseRev: 0, ops: [op] };
    const push = (depth: number): Promise<Response> =>
      fetch(`${house.url}/graphql`, {
        method: "POST",
        headers: { "content-type": "application/json", authorization: `Bearer ${token}` },
        body: JSON.stringify({ query, variables: { input } }).replace(`"DEEP"`, "[".repeat(depth) + "]".repeat(depth)),
      });
    const refused = await push(20_000);
    expect(refused.status).toBe(400);
    expect(await refused.text()).toContain(`"reason":"NESTED_TOO_DEEPLY"`);
    expect(calls()).toEqual([]);
    // Anything that can be forwarded is left to the owner: one change that is too deep must not hold back those behind
    // it.
    expect(await (await push(900)).text()).not.toContain("NESTED_TOO_DEEPLY");
    expect(calls()).toMatchObject([{ subgraph: "user-state" }]);
  });

  it("in a subscription is refused as it is in a query", async () => {
    await using client = createTestClient(house.socketUrl, token);
    const nested = "devices { sessions { device { sessions { device { sessions { id } } } } } }";
    const run = client.run(`subscription { deviceChanged { ${nested} } }`);
    const since: unknown = JSON.parse("[".repeat(1_000) + "]".repeat(1_000));
    const deep = client.run(`subscription ($since: String) { deviceChanged(since: $since) { to } }`, { since });
    const small = client.run(`subscription { deviceChanged { devices { id } } }`);
    await eventually(() => expect(run.failure()).toMatchObject([{ extensions: { reason: "OPERATION_TOO_COSTLY" } }]));
    await eventually(() => expect(deep.failure()).toMatchObject([{ extensions: { reason: "NESTED_TOO_DEEPLY" } }]));
    await eventually(() => expect(small.results).toHaveLength(1));
  });

  it("of faults is answered by few words: by far fewer than it is long", async () => {
    const long = "x".repeat(90_000);
    const text = `query ${long} { ${repeat(19, (index) => `me(a: $v${index}) { id }`)} }`;
    const document = await house.graphql(text, { token });
    expect(document.body.errors?.[0]?.extensions).toMatchObject({ reason: "DOCUMENT_INVALID" });
    expect(JSON.stringify(document.body).length).toBeLessThan(text.length / 2);

    const unknown = Object.fromEntries(Array.from({ length: 60 }, (_, index) => [`k${index}`, 1]));
    const query = `mutation ($input: SignInWithPasswordInput!) { signInWithPassword(input: $input) { grant } }`;
    const variables = { input: { ...unknown, email: long } };
    const values = await house.graphql(query, { token, variables });
    expect(values.body.errors?.[0]?.extensions).toMatchObject({ reason: "VARIABLES_INVALID" });
    expect(JSON.stringify(values.body).length).toBeLessThan(long.length / 2);
    expect(calls()).toEqual([]);
  });

  it("of many large bodies is not kept in memory", async () => {
    const before = process.memoryUsage().rss;
    const chunk = "x".repeat(1024 * 1024);
    const { hostname, port } = new URL(house.url);
    const head = `POST /graphql HTTP/1.1\r\nhost: gateway\r\ncontent-type: application/json\r\ncontent-length: ${10 * chunk.length}\r\n\r\n`;
    await Promise.all(
      Array.from({ length: 30 }, async () => {
        await using socket = connect(Number(port), hostname);
        const answered = once(socket, "data");
        socket.write(head);
        for (let sent = 0; sent < 10; sent += 1) await new Promise((resolve) => socket.write(chunk, resolve));
        expect(String(await answered)).toMatch(/^HTTP\/1.1 413 /);
      }),
    );
    expect(process.memoryUsage().rss - before).toBeLessThan(200 * 1024 * 1024);
    expect(calls()).toEqual([]);
  });
});
