/** The limits of rates and sockets as clients meet them, through the whole gateway. */
import { requestContextOf } from "@continuo/access";
import { once } from "node:events";
import { connect } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import { eventually } from "../fixtures/eventually.ts";
import { createDpopClient } from "../fixtures/dpop-client.ts";
import { type House, startHouse } from "../fixtures/house.ts";
import { createTestClient, exchange } from "../fixtures/socket-client.ts";

const SIGN_OUT = `mutation { signOut { receipt { seq } } }`;

describe("a gateway behind a proxy", () => {
  let house: House;
  beforeAll(async () => {
    house = await startHouse({
      env: {
        TRUSTED_PROXY_HOPS: "1",
        OPERATIONS_PER_SESSION: "5",
        OPERATIONS_PER_NETWORK: "8",
        CONNECTIONS_PER_SESSION: "3",
        SOCKETS_PER_NETWORK: "4",
      },
    });
  });
  afterAll(() => house[Symbol.asyncDispose]());

  const ask = (address: string, token?: string, query = `{ me { id } }`): ReturnType<House["graphql"]> =>
    house.graphql(query, { ...(token !== undefined && { token }), headers: { "x-forwarded-for": address } });

  it("refuses a session that asks too often with 429 and when to come back, over HTTP, WebSocket and event stream", async () => {
    const token = await house.token(house.join());
    for (let asked = 0; asked < 5; asked += 1) expect((await ask(`10.1.${asked}.1`, token)).status).toBe(200);
    house.state.calls.length = 0;
    const { status, headers, body } = await ask("10.1.9.1", token);
    expect(status).toBe(429);
    expect(Number(headers.get("retry-after"))).toBeGreaterThan(0);
    expect(body.errors?.[0]?.extensions).toMatchObject({
      code: "RATE_LIMITED",
      reason: "SESSION_RATE",
      details: { retryAfterMs: expect.any(Number) },
    });
    await using client = createTestClient(house.socketUrl, token);
    const live = client.run(`subscription { deviceChanged { to } }`);
    await eventually(() => expect(live.failure()).toMatchObject([{ extensions: { reason: "SESSION_RATE" } }]));
    const stream = await fetch(`${house.url}/graphql/stream`, {
      method: "POST",
      headers: { accept: "text/event-stream", "content-type": "application/json", authorization: `Bearer ${token}` },
      body: JSON.stringify({ query: `{ me { id } }` }),
    });
    expect(await stream.text()).toContain(`"reason":"SESSION_RATE"`);
    expect(house.state.calls).toEqual([]);
  });

  it("counts what is at fault as well: to find that out is work", async () => {
    const [asking, listening] = [await house.token(house.join()), await house.token(house.join())];
    for (const text of ["{ nothing }", "{", "{ nothing }", "{ me { id } } { me { id } }", "{ ...Nobody }"])
      expect((await ask("10.6.1.1", asking, text)).status).toBe(400);
    expect((await ask("10.6.1.1", asking, "{ nothing }")).status).toBe(429);
    await using client = createTestClient(house.socketUrl, listening);
    const runs = Array.from({ length: 6 }, () => client.run(`subscription { nothing }`));
    await eventually(() => expect(runs.map((run) => run.failure())).not.toContain(undefined));
    const told = runs.map((run) => JSON.stringify(run.failure()));
    expect(told.filter((each) => each.includes("DOCUMENT_INVALID"))).toHaveLength(5);
    expect(told.filter((each) => each.includes("SESSION_RATE"))).toHaveLength(1);
  });

  it("says where a request came from to subgraphs and activity, as a prefix and never whole", async () => {
    const person = house.join();
    house.state.calls.length = 0;
    await ask("10.9.1.77", await house.token(person));
    await ask("2001:db8:1:2:3:4:5:6");
    const stream = await fetch(`${house.url}/graphql/stream`, {
      method: "POST",
      headers: {
        accept: "text/event-stream",
        "content-type": "application/json",
        authorization: `Bearer ${await house.token(person)}`,
        "x-forwarded-for": "10.9.2.77",
      },
      body: JSON.stringify({ query: `{ me { id } }` }),
    });
    expect(await stream.text()).toContain("event: complete");
    const prefixes = house.state.calls.map(({ caller }) => requestContextOf(caller).ipPrefix);
    expect(prefixes).toEqual(["10.9.1.0/24", "2001:db8:1::/48", "10.9.2.0/24"]);
    await eventually(() =>
      expect(house.state.seen.findLast(({ sessionId }) => sessionId === person.sessionId)?.ipPrefix).toBe(
        "10.9.2.0/24",
      ),
    );
    expect(JSON.stringify([house.state.calls, house.state.seen])).not.toMatch(/\.77|3:4:5:6/);
  });

  it("counts tickets, exports and tokens too, and tells OAuth clients in their words", async () => {
    const token = await house.token(house.join());
    for (let asked = 0; asked < 5; asked += 1) await ask("10.5.1.1", token);
    const headers = { authorization: `Bearer ${token}`, "x-forwarded-for": "10.5.1.1" };
    const refused = await Promise.all([
      fetch(`${house.url}/graphql/ticket`, { method: "POST", headers }),
      fetch(`${house.url}/account/state`, { headers }),
    ]);
    for (const response of refused) {
      expect(response.status).toBe(429);
      expect(await response.text()).toContain("SESSION_RATE");
    }
    const exchange = (): Promise<Response> =>
      fetch(`${house.url}/oauth/token`, {
        method: "POST",
        headers: { "x-forwarded-for": "10.5.2.1", "content-type": "application/x-www-form-urlencoded" },
        body: "grant_type=refresh_token",
      });
    for (let asked = 0; asked < 8; asked += 1) expect((await exchange()).status).not.toBe(429);
    const answer = await exchange();
    expect(answer.status).toBe(429);
    expect(Number(answer.headers.get("retry-after"))).toBeGreaterThan(0);
    expect(await answer.json()).toMatchObject({ error: "temporarily_unavailable" });
  });

  it("never refuses to sign out, and lets nothing else through beside it", async () => {
    const token = await house.token(house.join());
    for (let asked = 0; asked < 6; asked += 1) await ask("10.2.1.1", token);
    house.state.calls.length = 0;
    expect((await ask("10.2.1.1", token, SIGN_OUT)).status).toBe(200);
    expect(house.state.calls).toHaveLength(1);
    const both = `mutation { signOut { receipt { seq } } renameDevice(id: "x", name: "y") { id } }`;
    expect((await ask("10.2.1.1", token, both)).status).toBe(429);
    expect(house.state.calls).toHaveLength(1);
  });

  it("refuses a network from which too much is asked, and no other", async () => {
    for (let asked = 0; asked < 8; asked += 1) expect((await ask(`10.3.1.${asked}`)).status).toBe(200);
    expect((await ask("10.3.1.200")).body.errors?.[0]?.extensions).toMatchObject({ reason: "NETWORK_RATE" });
    expect((await ask("10.3.2.1")).status).toBe(200);
    expect((await ask("10.3.2.1, 10.3.1.200")).status).toBe(429);
  });

  it("counts who shows a key and no token once, before the proof costs anything", async () => {
    const headers = async (): Promise<Record<string, string>> => ({
      dpop: await client.prove("POST", "/graphql"),
      "x-forwarded-for": "10.7.1.1",
    });
    const client = await createDpopClient(house.url, house.url);
    for (let asked = 0; asked < 8; asked += 1)
      expect((await client.graphql("{ me { id } }", undefined, await headers())).status).toBe(200);
    const late = await headers();
    const { status, extensions } = await client.graphql("{ me { id } }", undefined, late);
    expect([status, extensions]).toMatchObject([429, { reason: "NETWORK_RATE" }]);
    // The proof was not marked as used: from another network it is accepted.
    const elsewhere = { ...late, "x-forwarded-for": "10.7.2.1" };
    expect((await client.graphql("{ me { id } }", undefined, elsewhere)).status).toBe(200);
  });

  it("counts by a bound token only with its proof, which is used up though the operation is refused", async () => {
    const [client, thief] = [
      await createDpopClient(house.url, house.url),
      await createDpopClient(house.url, house.url),
    ];
    const token = await house.token(house.join(), { jkt: client.jkt });
    const send = async (proof: string, query = "{ me { id } }"): Promise<[status: number, reason: unknown]> => {
      const headers = { authorization: `DPoP ${token}`, dpop: proof, "x-forwarded-for": "10.8.1.1" };
      const { status, extensions } = await client.graphql(query, undefined, headers);
      return [status, extensions?.["reason"]];
    };
    const prove = (by = client): Promise<string> => by.prove("POST", "/graphql", token);
    for (let asked = 0; asked < 6; asked += 1)
      expect(await send(await prove(thief))).toEqual([401, "DPOP_PROOF_INVALID"]);
    for (let asked = 0; asked < 5; asked += 1) expect(await send(await prove())).toEqual([200, undefined]);
    const refused = await prove();
    expect(await send(refused)).toEqual([429, "SESSION_RATE"]);
    expect(await send(refused, SIGN_OUT)).toEqual([401, "DPOP_PROOF_INVALID"]);
    expect((await send(await prove(), SIGN_OUT))[0]).toBe(200);
  });

  it("bounds how often a session begins a socket", async () => {
    const token = await house.token(house.join());
    const init = { type: "connection_init", payload: { authorization: `Bearer ${token}` } };
    for (let begun = 0; begun < 3; begun += 1) {
      const closed = await exchange(house.socketUrl, [init, { type: "nonsense" }]);
      expect(closed.received).toEqual([{ type: "connection_ack" }]);
    }
    expect(await exchange(house.socketUrl, [init])).toMatchObject({
      code: 1013,
      reason: "CONNECTION_RATE",
      received: [],
    });
  });

  it("bounds how often a session reserves an event stream", async () => {
    const headers = { authorization: `Bearer ${await house.token(house.join())}` };
    const statuses: number[] = [];
    for (let asked = 0; asked < 4; asked += 1)
      statuses.push((await fetch(`${house.url}/graphql/stream`, { method: "PUT", headers })).status);
    expect(statuses).toEqual([201, 201, 201, 429]);
  });

  it("bounds the sockets of a network, also those on which nobody signs in, until they close", async () => {
    const open = (address: string): Promise<number> =>
      new Promise((resolve) => {
        const socket = new WebSocket(house.socketUrl, "graphql-transport-ws", {
          headers: { "x-forwarded-for": address },
        });
        socket.on("error", () => undefined);
        socket.on("open", () => resolve(101));
        socket.on("unexpected-response", (_request, response) => resolve(response.statusCode ?? 0));
      });
    expect(await Promise.all([1, 2, 3, 4].map((host) => open(`10.4.1.${host}`)))).toEqual([101, 101, 101, 101]);
    expect(await open("10.4.1.5")).toBe(429);
    expect(await open("10.4.2.5")).toBe(101);
    // They never authenticated.
    await eventually(async () => expect(await open("10.4.1.6")).toBe(101));
  });
});

describe("what is opened and left so", () => {
  let house: House;
  beforeAll(async () => {
    house = await startHouse();
  });
  afterAll(() => house[Symbol.asyncDispose]());

  it("is closed in time when 2,000 sockets never sign in, while others are served and memory stays bounded", async () => {
    const before = process.memoryUsage().rss;
    const closed: Promise<unknown[]>[] = [];
    for (let batch = 0; batch < 20; batch += 1)
      await Promise.all(
        Array.from({ length: 100 }, async () => {
          const socket = new WebSocket(house.socketUrl, "graphql-transport-ws");
          closed.push(once(socket, "close"));
          await once(socket, "open");
        }),
      );
    const { body } = await house.graphql(`{ me { id } }`, { token: await house.token(house.join()) });
    expect(body.data).toMatchObject({ me: {} });
    const codes = (await Promise.all(closed)).map(([code]) => code);
    expect(codes).toHaveLength(2_000);
    expect(new Set(codes)).toEqual(new Set([4408]));
    expect(process.memoryUsage().rss - before).toBeLessThan(250 * 1024 * 1024);
  });

  it("is cut off when it sends its headers a byte at a time", async () => {
    const { hostname, port } = new URL(house.url);
    const slow = Array.from({ length: 100 }, () => connect(Number(port), hostname));
    const ended = slow.map((socket) => once(socket.on("error", () => undefined).resume(), "close"));
    for (const socket of slow) socket.write("POST /graphql HTTP/1.1\r\nhost: gateway\r\nx-slow: ");
    const drip = setInterval(() => {
      for (const socket of slow) if (socket.writable) socket.write("x");
    }, 500);
    expect((await house.graphql(`{ me { id } }`)).status).toBe(200);
    await Promise.all(ended);
    clearInterval(drip);
  });
});
