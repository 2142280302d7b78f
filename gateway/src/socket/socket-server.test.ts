import { once } from "node:events";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import { eventually } from "../fixtures/eventually.ts";
import { type House, type Person, startHouse } from "../fixtures/house.ts";
import { createTestClient, exchange, refusedUpgrade } from "../fixtures/socket-client.ts";

const STATE = `subscription { stateChanges { from to entries { key value } } }`;
const DEVICES = `subscription { deviceChanged { devices { name syncStatus { ackedRev } } } }`;

/** A gateway listens for revocations and for changes of the signing keys. */
const GATEWAY_LISTENERS = 2;

describe("the gateway over WebSocket", () => {
  let house: House;
  let ada: Person;
  beforeAll(async () => {
    house = await startHouse();
  });
  afterAll(() => house[Symbol.asyncDispose]());
  beforeEach(() => {
    ada = house.join(2);
  });

  const init = async (token: Promise<string> | string): Promise<object> => ({
    type: "connection_init",
    payload: { authorization: `Bearer ${await token}` },
  });
  const subscribe = (query: string, id = "1"): object => ({ id, type: "subscribe", payload: { query } });

  it("runs queries and mutations like HTTP does, and counts them as activity", async () => {
    await using phone = createTestClient(house.socketUrl, await house.token(ada));
    const query = phone.run(`{ me { email } }`);
    const mutation = phone.run(`mutation { renameDevice(id: "nobody's", name: "x") { id } }`);
    await eventually(() => expect([query.isComplete(), mutation.isComplete()]).toEqual([true, true]));
    expect(query.results).toEqual([{ data: { me: { email: `${ada.userId}@example.com` } } }]);
    const requestId = house.state.calls.findLast(({ subgraph }) => subgraph === "session")?.requestId;
    expect(mutation.results).toMatchObject([
      {
        data: null,
        errors: [{ extensions: { code: "NOT_FOUND", reason: "DEVICE_NOT_FOUND", requestId } }],
      },
    ]);
    await eventually(() => expect(house.state.seen.map(({ sessionId }) => sessionId)).toContain(ada.sessionId));
  });

  it("does not count a subscription as activity", async () => {
    await using phone = createTestClient(house.socketUrl, await house.token(ada));
    const live = phone.run(STATE);
    await eventually(() => expect(live.results).toHaveLength(1));
    await using other = createTestClient(house.socketUrl, await house.token(house.join()));
    const query = other.run(`{ me { id } }`);
    const before = house.state.seen.length;
    await eventually(() => expect(query.isComplete() && house.state.seen.length).toBeGreaterThan(before));
    expect(house.state.seen.map(({ sessionId }) => sessionId)).not.toContain(ada.sessionId);
  });

  describe("on revocation", () => {
    it("tells each open operation why and closes the session's sockets, and only those", async () => {
      await using phone = createTestClient(house.socketUrl, await house.token(ada));
      await using laptop = createTestClient(
        house.socketUrl,
        await house.token({ ...ada, sessionId: house.join().sessionId }),
      );
      const lost = [phone.run(STATE), phone.run(DEVICES)];
      const kept = laptop.run(STATE);
      await eventually(() => expect([...lost, kept].map(({ results }) => results.length)).toEqual([1, 1, 1]));
      await house.revoke(ada.sessionId, "SIGNED_OUT_REMOTELY");
      await eventually(() =>
        expect(phone.closes).toEqual([{ code: 4403, reason: "SESSION_ENDED: SIGNED_OUT_REMOTELY" }]),
      );
      for (const operation of lost)
        expect(operation.failure()).toMatchObject([
          {
            extensions: {
              code: "UNAUTHENTICATED",
              reason: "SESSION_ENDED",
              details: { endReason: "SIGNED_OUT_REMOTELY" },
              requestId: expect.any(String),
            },
          },
        ]);
      await eventually(() => expect(house.state.acks.at(-1)).toMatchObject({ socketsClosed: 1 }));
      await house.write(ada, "note", "still here");
      await eventually(() => expect(kept.results).toHaveLength(2));
    });

    it("closes sockets also when the poke was lost", async () => {
      await using phone = createTestClient(house.socketUrl, await house.token(ada));
      const live = phone.run(STATE);
      await eventually(() => expect(live.results).toHaveLength(1));
      house.pokes.lose = true;
      await house.revoke(ada.sessionId, "EVICTED");
      house.pokes.lose = false;
      await eventually(() => expect(phone.closes).toEqual([{ code: 4403, reason: "SESSION_ENDED: EVICTED" }]));
    });
  });

  it("closes a socket when its token expires, and a stock client resumes with a new one", async () => {
    const lives = [2, 300];
    const token = (): Promise<string> => house.token(ada, { expiresIn: lives.shift() ?? 300 });
    await using phone = createTestClient(house.socketUrl, token, 3);
    const live = phone.run(STATE);
    await eventually(() => expect(live.results).toHaveLength(1));
    await eventually(() => expect(phone.closes).toEqual([{ code: 4403, reason: "TOKEN_EXPIRED" }]));
    await eventually(() => expect(live.results.length).toBeGreaterThan(1));
    expect(live.failure()).toBeUndefined();
  });

  describe("refuses at connection_init", () => {
    const refusals: [string, string, (house: House, person: Person) => Promise<object>][] = [
      ["nobody in particular", "SIGN_IN_REQUIRED", async () => ({ type: "connection_init", payload: {} })],
      ["an expired token", "TOKEN_EXPIRED", (house, person) => init(house.token(person, { expiresIn: -1 }))],
      ["a forged token", "TOKEN_INVALID", (house, person) => init(house.token(person, { foreignKey: true }))],
      [
        "a foreign token",
        "TOKEN_INVALID",
        (house, person) => init(house.token(person, { issuer: "http://else.test" })),
      ],
      [
        "a revoked session",
        "SESSION_ENDED: SIGNED_OUT",
        async (house, person) => {
          const acked = house.state.acks.length;
          await house.revoke(person.sessionId, "SIGNED_OUT");
          await eventually(() => expect(house.state.acks.length).toBeGreaterThan(acked));
          return init(house.token(person));
        },
      ],
    ];
    it.each(refusals)("%s", async (_who, reason, message) => {
      const closed = await exchange(house.socketUrl, [await message(house, ada), subscribe(STATE)]);
      expect(closed).toMatchObject({ code: 4403, reason });
    });
  });

  it("closes a socket that never introduces itself", async () => {
    expect(await exchange(house.socketUrl, [])).toMatchObject({ code: 4408 });
  });

  it("takes no other subprotocol", async () => {
    const closed = await exchange(house.socketUrl, [], { protocol: "graphql-ws" }).catch((cause: unknown) => cause);
    expect(String(closed)).toMatch(/subprotocol|4406/i);
  });

  it("accepts pages of its own and of allowed origins, and no others", async () => {
    const neighbour = new URL(house.url);
    neighbour.port = "1";
    for (const origin of ["https://evil.example.com", neighbour.origin, "null"])
      expect(await refusedUpgrade(house.socketUrl, origin)).toBe(403);
    expect(await refusedUpgrade(`${house.socketUrl}/other`)).toBe(404);
    const frames = ["}{"];
    expect(await exchange(house.socketUrl, frames, { origin: "https://app.example.com" })).toMatchObject({
      code: 4400,
    });
    expect(await exchange(house.socketUrl, frames, { origin: house.url })).toMatchObject({ code: 4400 });
  });

  it("bounds the operations of a socket and the sockets of a session", async () => {
    await using phone = createTestClient(house.socketUrl, await house.token(ada));
    const running = Array.from({ length: 51 }, () => phone.run(STATE));
    await eventually(() => expect(running.filter(({ results }) => results.length === 1)).toHaveLength(50));
    expect(running.map(({ failure }) => failure()).filter(Boolean)).toMatchObject([
      [{ extensions: { code: "RATE_LIMITED", reason: "TOO_MANY_OPERATIONS" } }],
    ]);
    const token = await house.token(ada);
    const others = Array.from({ length: 31 }, () => createTestClient(house.socketUrl, token));
    const first = others.map((client) => client.run(STATE));
    await eventually(() => expect(first.filter(({ results }) => results.length === 1)).toHaveLength(31));
    expect(await exchange(house.socketUrl, [await init(token)])).toMatchObject({
      code: 1013,
      reason: "TOO_MANY_STREAMS",
    });
    await Promise.all(others.map((client) => client[Symbol.asyncDispose]()));
  });

  it("lets go of everything when clients leave, also when nothing ever happened", async () => {
    await using phone = createTestClient(house.socketUrl, await house.token(ada));
    const keep = phone.run(STATE);
    await eventually(() => expect(keep.results).toHaveLength(1));
    // The gateway's own listeners and this client's, once those of earlier tests are gone.
    const idle = GATEWAY_LISTENERS + 1;
    await eventually(() => expect(house.pokes.listeners).toBe(idle));
    for (let round = 0; round < 20; round += 1) {
      const some = Array.from({ length: 25 }, () => phone.run(STATE));
      await eventually(() => expect(some.every(({ results }) => results.length === 1)).toBe(true));
      for (const operation of some) operation.stop();
      await eventually(() => expect(house.pokes.listeners).toBe(idle));
    }
    phone.client.terminate();
    await eventually(() => expect(house.pokes.listeners).toBe(idle - 1));
  });
});

describe("a gateway's keepalive", () => {
  it("cuts a client off that answers no ping, and lets go of its operations", async () => {
    await using house = await startHouse({ waits: { pingEveryMs: 200 } });
    const authorization = `Bearer ${await house.token(house.join())}`;
    const mute = new WebSocket(house.socketUrl, "graphql-transport-ws", { autoPong: false });
    mute.once("message", () => mute.send(JSON.stringify({ id: "1", type: "subscribe", payload: { query: STATE } })));
    await once(mute, "open");
    mute.send(JSON.stringify({ type: "connection_init", payload: { authorization } }));
    const [code]: unknown[] = await once(mute, "close");
    expect(code).toBe(1006);
    await eventually(() => expect(house.pokes.listeners).toBe(GATEWAY_LISTENERS));
  });
});

describe("a gateway that is going away", () => {
  it("tells its sockets so, and a stock client is told to come back", async () => {
    const house = await startHouse();
    const phone = createTestClient(house.socketUrl, await house.token(house.join()));
    const live = phone.run(STATE);
    await eventually(() => expect(live.results).toHaveLength(1));
    await house[Symbol.asyncDispose]();
    await eventually(() => expect(phone.closes).toEqual([{ code: 1001, reason: "GOING_AWAY" }]));
    await phone[Symbol.asyncDispose]();
  });
});
