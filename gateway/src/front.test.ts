import Fastify from "fastify";
import { AppError } from "@continuo/errors";
import { once } from "node:events";
import { connect } from "node:net";
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { eventually } from "./fixtures/eventually.ts";
import { serveKeys } from "./front.ts";
import { type House, startHouse } from "./fixtures/house.ts";

const DEVICES = `{ viewer { devices { nodes { name syncStatus { ackedRev } } } } }`;

describe("the gateway over HTTP", () => {
  let house: House;
  beforeAll(async () => {
    house = await startHouse();
  });
  afterAll(() => house[Symbol.asyncDispose]());
  beforeEach(() => {
    for (const proxy of Object.values(house.proxies)) proxy.heal();
    house.state.syncStatusFault = undefined;
    house.state.calls.length = 0;
  });

  it("answers one question from several subgraphs as the viewer", async () => {
    const ada = house.join(2);
    const query = `{ me { email } viewer { devices { nodes { name syncStatus { ackedRev } } } } }`;
    const { body } = await house.graphql(query, { token: await house.token(ada) });
    const nodes = ["Device 1", "Device 2"].map((name) => ({ name, syncStatus: { ackedRev: 1 } }));
    expect(body).toEqual({ data: { me: { email: `${ada.userId}@example.com` }, viewer: { devices: { nodes } } } });
    expect(house.state.calls.map(({ caller }) => caller.kind === "viewer" && caller.viewer.sessionId)).toEqual(
      Array.from({ length: 3 }, () => ada.sessionId),
    );
  });

  it("knows nobody without a token", async () => {
    expect((await house.graphql(`{ me { id } viewer { user { id } } }`)).body).toEqual({
      data: { me: null, viewer: null },
    });
  });

  it("takes a token of the longest life, minted by a clock that is ahead of its own", async () => {
    const token = await house.token(house.join(), { expiresIn: 15 * 60 + 50 });
    expect((await house.graphql(`{ me { id } }`, { token })).status).toBe(200);
  });

  describe("refuses with 401, before any subgraph is asked,", () => {
    const refusals: [string, string, (house: House) => Promise<string>][] = [
      ["an expired token", "TOKEN_EXPIRED", (house) => house.token(house.join(), { expiresIn: -1 })],
      ["a token signed by somebody else", "TOKEN_INVALID", (house) => house.token(house.join(), { foreignKey: true })],
      [
        "a token of another issuer",
        "TOKEN_INVALID",
        (house) => house.token(house.join(), { issuer: "http://elsewhere.test" }),
      ],
      [
        "a token that outlives what revocations are remembered for",
        "TOKEN_INVALID",
        (house) => house.token(house.join(), { expiresIn: 16 * 60 + 5 }),
      ],
      ["a token that is none", "TOKEN_INVALID", async () => "letmein"],
    ];
    it.each(refusals)("%s", async (_what, reason, token) => {
      const { status, headers, body } = await house.graphql(`{ me { id } }`, { token: await token(house) });
      expect(status).toBe(401);
      expect(headers.get("www-authenticate")).toMatch(/^Bearer error="invalid_token"/);
      expect(body.errors?.[0]?.extensions).toEqual({
        code: "UNAUTHENTICATED",
        reason,
        requestId: headers.get("x-request-id"),
      });
      expect(house.state.calls).toEqual([]);
    });

    it("a scheme other than Bearer", async () => {
      const { status } = await house.graphql(`{ me { id } }`, { headers: { authorization: "Basic YTpi" } });
      expect(status).toBe(401);
    });

    it("a token of a session that has ended, and says why", async () => {
      const ada = house.join();
      const token = await house.token(ada);
      expect((await house.graphql(`{ me { id } }`, { token })).status).toBe(200);
      await house.revoke(ada.sessionId, "SIGNED_OUT_REMOTELY");
      await eventually(async () => {
        const { status, body } = await house.graphql(`{ me { id } }`, { token });
        expect(status).toBe(401);
        expect(body.errors?.[0]?.extensions).toMatchObject({
          code: "UNAUTHENTICATED",
          reason: "SESSION_ENDED",
          details: { endReason: "SIGNED_OUT_REMOTELY" },
        });
      });
      await eventually(() => expect(house.state.acks.at(-1)).toMatchObject({ replica: "gateway-1", socketsClosed: 0 }));
    });

    it("a token only until its sign-out is taken back", async () => {
      const ada = house.join();
      const token = await house.token(ada);
      const statusIs = (expected: number): Promise<void> =>
        eventually(async () => expect((await house.graphql(`{ me { id } }`, { token })).status).toBe(expected));
      await house.revoke(ada.sessionId, "SIGNED_OUT_REMOTELY");
      await statusIs(401);
      await house.revoke(ada.sessionId, "SIGNED_OUT_REMOTELY", "RESTORED");
      await statusIs(200);
      await house.revoke(ada.sessionId, "SIGNED_OUT_REMOTELY");
      await statusIs(401);
    });
  });

  it("passes nothing of the client's headers on, and its own request id to everybody", async () => {
    const token = await house.token(house.join());
    // Cut sockets, so that operations go over HTTP.
    for (const proxy of Object.values(house.proxies)) proxy.cut();
    house.state.headers.length = 0;
    const { headers } = await house.graphql(DEVICES, {
      token,
      headers: { cookie: "a=b", "x-evil": "1", "x-continuo-identity": "forged", "x-request-id": "trace-me" },
    });
    expect(headers.get("x-request-id")).toBe("trace-me");
    for (const { requestId } of house.state.calls) expect(requestId).toBe("trace-me");
    expect(house.state.headers).not.toEqual([]);
    for (const headers of house.state.headers) {
      expect(Object.keys(headers).sort()).toEqual([
        "accept",
        "connection",
        "content-length",
        "content-type",
        "host",
        "x-continuo-identity",
        "x-request-id",
      ]);
    }
    expect(house.state.calls.map(({ subgraph }) => subgraph)).toEqual(["session", "user-state"]);
  });

  describe("when a subgraph fails", () => {
    it("keeps the code and reason that the subgraph meant for the client, with the place in the client's operation", async () => {
      house.state.syncStatusFault = new AppError("RATE_LIMITED", "TOO_OFTEN", "Not so fast.", {
        details: { retryAfterMs: 5 },
      });
      const { status, headers, body } = await house.graphql(DEVICES, { token: await house.token(house.join()) });
      expect(status).toBe(200);
      expect(headers.get("retry-after")).toBe("1");
      expect(body).toEqual({
        data: { viewer: { devices: { nodes: [{ name: "Device 1", syncStatus: null }] } } },
        errors: [
          {
            message: "Not so fast.",
            path: ["viewer", "devices", "nodes", 0, "syncStatus"],
            extensions: {
              code: "RATE_LIMITED",
              reason: "TOO_OFTEN",
              details: { retryAfterMs: 5 },
              requestId: headers.get("x-request-id"),
            },
          },
        ],
      });
    });

    it("masks its bugs", async () => {
      house.state.syncStatusFault = new TypeError("column secret does not exist");
      const { body } = await house.graphql(DEVICES, { token: await house.token(house.join()) });
      expect(body.errors?.[0]).toMatchObject({ extensions: { code: "INTERNAL_SERVER_ERROR", reason: "UNEXPECTED" } });
      expect(JSON.stringify(body)).not.toMatch(/secret|user-state|serviceName|stacktrace/);
    });

    it("answers what the others know while it is away, for each place that is missing", async () => {
      house.proxies["user-state"].down();
      const { body } = await house.graphql(DEVICES, { token: await house.token(house.join(2)) });
      const nodes = ["Device 1", "Device 2"].map((name) => ({ name, syncStatus: null }));
      expect(body.data).toEqual({ viewer: { devices: { nodes } } });
      expect(body.errors?.map(({ path, extensions }) => [path, extensions["code"], extensions["reason"]])).toEqual([
        [["viewer", "devices", "nodes", 0], "UNAVAILABLE", "SUBGRAPH_UNAVAILABLE"],
        [["viewer", "devices", "nodes", 1], "UNAVAILABLE", "SUBGRAPH_UNAVAILABLE"],
      ]);
    });

    it("names the root fields that it owned", async () => {
      house.proxies.identity.down();
      const { body } = await house.graphql(`{ person: me { id } viewer { user { id } } }`, {
        token: await house.token(house.join()),
      });
      expect(body.data).toMatchObject({ person: null, viewer: {} });
      expect(body.errors).toMatchObject([{ path: ["person"], extensions: { reason: "SUBGRAPH_UNAVAILABLE" } }]);
    });

    it("is not ready", async () => {
      house.proxies.identity.down();
      const response = await fetch(`${house.url}/ready`);
      expect(response.status).toBe(503);
      expect(await response.json()).toMatchObject({
        ready: false,
        checks: { identity: "not ready", revocations: "ok" },
      });
    });
  });

  describe("tells what is wrong with a request, with a code, a reason and an id:", () => {
    const faults: [string, number, string, () => RequestInit][] = [
      ["a syntax error", 400, "DOCUMENT_INVALID", () => post({ query: "{ me {" })],
      ["an unknown field", 400, "DOCUMENT_INVALID", () => post({ query: "{ me { shoeSize } }" })],
      [
        "a variable of the wrong type",
        400,
        "VARIABLES_INVALID",
        () =>
          post({
            query: `mutation ($email: String!) { signUp(input: { email: $email, password: "" }) { email } }`,
            variables: { email: {} },
          }),
      ],
      [
        "an unknown operation name",
        400,
        "OPERATION_UNKNOWN",
        () => post({ query: "query A { me { id } }", operationName: "B" }),
      ],
      ["a subscription", 400, "SUBSCRIPTION_OVER_HTTP", () => post({ query: "subscription { deviceChanged { to } }" })],
      ["a batch", 400, "REQUEST_INVALID", () => post([{ query: "{ me { id } }" }])],
      [
        "a persisted query",
        200,
        "PERSISTED_QUERY_NOT_SUPPORTED",
        () => post({ extensions: { persistedQuery: { version: 1, sha256Hash: "00" } } }),
      ],
      ["too many tokens", 400, "TOO_MANY_TOKENS", () => post({ query: `{ ${"a ".repeat(6_000)} }` })],
      ["a body that is not JSON", 400, "REQUEST_INVALID", () => ({ ...post({}), body: "{" })],
      ["an empty body", 400, "REQUEST_INVALID", () => post({})],
      [
        "a body that a form could send",
        400,
        "REQUEST_INVALID",
        () => ({ ...post({}), headers: { "content-type": "text/plain" } }),
      ],
      ["a body that is too large", 413, "BODY_TOO_LARGE", () => post({ query: "x".repeat(1024 * 1024) })],
    ];
    it("a body so large that it is still being sent when the answer comes: the answer arrives", async () => {
      const { hostname, port } = new URL(house.url);
      const chunk = "x".repeat(1024 * 1024);
      await using socket = connect(Number(port), hostname);
      const answered = once(socket, "data");
      const headers = ["host: gateway", "content-type: application/json", `content-length: ${16 * chunk.length}`];
      socket.write(`POST /graphql HTTP/1.1\r\n${headers.join("\r\n")}\r\n\r\n`);
      for (let sent = 0; sent < 16; sent++) await new Promise((resolve) => socket.write(chunk, resolve));
      expect(String(await answered)).toMatch(/^HTTP\/1.1 413 /);
      expect(socket.destroyed).toBe(false);
    });
    it.each(faults)("%s", async (_what, status, reason, sent) => {
      const response = await fetch(`${house.url}/graphql`, sent());
      const body: unknown = await response.json();
      expect([response.status, body]).toMatchObject([
        status,
        {
          errors: [{ extensions: { code: "BAD_USER_INPUT", reason, requestId: response.headers.get("x-request-id") } }],
        },
      ]);
      expect(JSON.stringify(body)).not.toMatch(/stacktrace|node_modules/);
    });

    it("a read by a link from another site", async () => {
      const response = await fetch(`${house.url}/graphql?query=${encodeURIComponent("{ me { id } }")}`);
      expect([response.status, await response.json()]).toMatchObject([
        400,
        { errors: [{ extensions: { reason: "REQUEST_INVALID" } }] },
      ]);
    });

    it("an address that does not exist", async () => {
      const response = await fetch(`${house.url}/nothing`);
      expect([response.status, await response.json()]).toMatchObject([
        404,
        { errors: [{ extensions: { code: "NOT_FOUND" } }] },
      ]);
    });
  });

  it("says what a subgraph says about input that only it can judge", async () => {
    const token = await house.token(house.join());
    const { body } = await house.graphql(`mutation { renameDevice(id: "x", name: "y") { id } }`, { token });
    expect(body).toMatchObject({
      data: null,
      errors: [
        { path: ["renameDevice"], extensions: { code: "NOT_FOUND", reason: "DEVICE_NOT_FOUND", details: { id: "x" } } },
      ],
    });
    const unmasked = await house.graphql(`mutation { signUp(input: { email: "a", password: "b" }) { email } }`);
    expect(unmasked.body.errors?.[0]).toMatchObject({ message: "Something went wrong on our side.", path: ["signUp"] });
  });

  it("reports who was active, with the generation of the grant, and nobody anonymous", async () => {
    const ada = house.join();
    const token = await house.token(ada);
    await house.graphql(`{ me { id } }`);
    await house.graphql(`{ me { id } }`, { token });
    await house.graphql(`{ me { id } }`, { token });
    const seenOf = (sessionId: string): object[] => house.state.seen.filter((seen) => seen.sessionId === sessionId);
    // A report may be sent between the two operations; then there are two.
    await eventually(() => expect([1, 2]).toContain(seenOf(ada.sessionId).length));
    for (const seen of seenOf(ada.sessionId)) expect(seen).toMatchObject({ generation: 1 });
  });

  it.each([
    ["an operation marked so by its client", `query Poll @passive { me { id } }`, {}],
    ["what a browser fetches ahead", `{ me { id } }`, { "sec-purpose": "prefetch;prerender" }],
  ])("counts no activity for %s", async (_case, query, headers) => {
    const [polling, active] = [house.join(), house.join()];
    const passive = await house.graphql(query, { token: await house.token(polling), headers });
    expect(passive.body.data).toEqual({ me: { id: polling.userId } });
    await house.graphql(`{ me { id } }`, { token: await house.token(active) });
    const seen = (): string[] => house.state.seen.map(({ sessionId }) => sessionId);
    await eventually(() => expect(seen()).toContain(active.sessionId));
    expect(seen()).not.toContain(polling.sessionId);
  });

  it("counts no activity for a refresh, whatever token is sent along", async () => {
    const [refreshing, active] = [house.join(), house.join()];
    const refresh = `mutation Refresh { again: refreshSession(refreshToken: "cnt_rt_") { accessToken } }`;
    await house.graphql(refresh, { token: await house.token(refreshing) });
    await house.graphql(`{ me { id } }`, { token: await house.token(active) });
    const seen = (): string[] => house.state.seen.map(({ sessionId }) => sessionId);
    await eventually(() => expect(seen()).toContain(active.sessionId));
    expect(seen()).not.toContain(refreshing.sessionId);
  });

  it("serves the signing keys with the life that their owner gives them", async () => {
    const response = await fetch(`${house.url}/.well-known/jwks.json`);
    expect(response.headers.get("cache-control")).toBe("public, max-age=300");
    expect(await response.json()).toMatchObject({ keys: [{ kty: "EC" }] });
  });

  it("lets pages of allowed origins call, and no others", async () => {
    const ask = async (origin: string): Promise<string | null> => {
      const preflight = { method: "OPTIONS", headers: { origin, "access-control-request-method": "POST" } };
      return (await fetch(`${house.url}/graphql`, preflight)).headers.get("access-control-allow-origin");
    };
    expect(await ask("https://app.example.com")).toBe("https://app.example.com");
    expect(await ask("https://evil.example.com")).not.toBe("https://evil.example.com");
  });

  it("brings GraphiQL in development, whole", async () => {
    const page = await (await fetch(`${house.url}/graphiql`)).text();
    expect(page).toContain("renderYogaGraphiQL");
    expect(page).not.toMatch(/<(script|link)[^>]+(src|href)="https?:/);
  });
});

describe("a step-up", () => {
  it("ends the access tokens of before at the door, for tickets too, and nothing that is open or newer", async () => {
    await using house = await startHouse();
    const ada = house.join();
    const [former, next] = [await house.token(ada), await house.token(ada)];
    const ask = async (token: string): Promise<unknown> => {
      const { status, body } = await house.graphql(`{ me { id } }`, { token });
      return [status, body.errors?.[0]?.extensions["reason"]];
    };
    const issued = await fetch(`${house.url}/graphql/ticket`, {
      method: "POST",
      headers: { authorization: `Bearer ${former}` },
    });
    const { ticket } = Object(await issued.json());
    expect(await ask(former)).toEqual([200, undefined]);
    await house.replaceGrantOf(former);
    await eventually(async () => expect(await ask(former)).toEqual([401, "TOKEN_REPLACED"]));
    const stream = await fetch(`${house.url}/graphql/stream?query={me{id}}&ticket=${String(ticket)}`, {
      headers: { accept: "text/event-stream" },
    });
    expect([stream.status, await stream.json()]).toMatchObject([
      401,
      { errors: [{ extensions: { reason: "TOKEN_REPLACED" } }] },
    ]);
    expect(await ask(next)).toEqual([200, undefined]);
  });
});

describe("the gateway in production", () => {
  it("shows neither its schema nor GraphiQL, and suggests nothing", async () => {
    await using house = await startHouse({ env: { MODE: "production", PUBLIC_URL: "https://api.example.com" } });
    expect((await house.graphql(`{ __schema { types { name } } }`)).status).toBe(400);
    expect((await fetch(`${house.url}/graphiql`)).status).toBe(404);
    expect(JSON.stringify((await house.graphql(`{ mee { id } }`)).body)).not.toContain("Did you mean");
    const stream = await fetch(`${house.url}/graphql/stream?query=subscription{stateChange{to}}`, {
      headers: { accept: "text/event-stream", authorization: `Bearer ${await house.token(house.join())}` },
    });
    const told = await stream.text();
    expect(told).toContain("DOCUMENT_INVALID");
    expect(told).not.toContain("Did you mean");
  });
});

// Concurrent, because each test has its own gateway and mostly waits for it.
describe.concurrent("a gateway that cannot read the revocation log", () => {
  it("stops trusting tokens within seconds, and starts again when it can", async () => {
    await using house = await startHouse();
    const token = await house.token(house.join());
    const ask = (): ReturnType<House["graphql"]> => house.graphql(`{ me { id } }`, { token });
    expect((await ask()).status).toBe(200);
    house.proxies.session.down();
    await eventually(async () => {
      const { status, body } = await ask();
      expect(status).toBe(503);
      expect(body.errors?.[0]?.extensions).toMatchObject({ code: "UNAVAILABLE", reason: "REVOCATION_UNKNOWN" });
    });
    expect((await house.graphql(`{ me { id } }`)).status).toBe(200);
    house.proxies.session.heal();
    expect((await ask()).status).toBe(200);
  });

  it.each([
    ["OPEN", 200],
    ["STRICT", 503],
    ["CLOSED", 503],
  ] as const)("refuses mutations, and queries unless the policy is open: %s", async (posture, expected) => {
    await using house = await startHouse();
    const ada = house.join();
    const token = await house.token(ada, { posture });
    const refusal = { extensions: { code: "UNAVAILABLE", reason: "REVOCATION_UNKNOWN" } };
    expect((await house.graphql(`{ me { id } }`, { token })).status).toBe(200);
    house.proxies.session.down();
    await eventually(async () => {
      const mutation = await house.graphql(`mutation { renameDevice(id: "x", name: "y") { id } }`, { token });
      expect(mutation.status).toBe(503);
      expect(mutation.body.errors?.[0]).toMatchObject(refusal);
      const query = await house.graphql(`{ me { id } }`, { token });
      expect(query.status).toBe(expected);
    });
    house.proxies.session.heal();
    await eventually(async () => expect((await house.graphql(`{ me { id } }`, { token })).status).toBe(200));
  });

  it("goes on knowing, from memory, who was signed out before", async () => {
    await using house = await startHouse();
    const ada = house.join();
    const token = await house.token(ada, { posture: "OPEN" });
    await house.revoke(ada.sessionId, "SIGNED_OUT");
    await eventually(async () => expect((await house.graphql(`{ me { id } }`, { token })).status).toBe(401));
    house.proxies.session.down();
    const other = await house.token(house.join(), { posture: "OPEN" });
    await eventually(async () => {
      const mutation = await house.graphql(`mutation { renameDevice(id: "x", name: "y") { id } }`, { token: other });
      expect(mutation.status).toBe(503);
    });
    expect((await house.graphql(`{ me { id } }`, { token: other })).status).toBe(200);
    expect((await house.graphql(`{ me { id } }`, { token })).status).toBe(401);
  });
});

function post(body: unknown): RequestInit {
  return { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
}

it("asks for the signing keys once at a time, however many want them", async () => {
  await using http = Fastify();
  const keys = Promise.withResolvers<{ body: string; cacheControl: undefined }>();
  const read = vi.fn<() => typeof keys.promise>(() => keys.promise);
  let arrived = 0;
  http.addHook("onRequest", async () => void (arrived += 1));
  serveKeys(http, "/keys", read);
  const answers = Array.from({ length: 5 }, async () => (await http.inject("/keys")).body);
  await eventually(() => expect(arrived).toBe(5));
  keys.resolve({ body: "{}", cacheControl: undefined });
  expect(await Promise.all(answers)).toEqual(["{}", "{}", "{}", "{}", "{}"]);
  expect(read).toHaveBeenCalledTimes(1);
  await http.inject("/keys");
  expect(read).toHaveBeenCalledTimes(2);
});
