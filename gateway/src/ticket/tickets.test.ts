import { generateKey } from "@continuo/access";
import type { AppError } from "@continuo/errors";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type RawData, WebSocket } from "ws";
import { claimsOf } from "../fixtures/claims.ts";
import { createDpopClient } from "../fixtures/dpop-client.ts";
import { eventually } from "../fixtures/eventually.ts";
import { type House, startHouse } from "../fixtures/house.ts";
import { createMemoryReplayCache } from "../fixtures/memory-replay-cache.ts";
import { exchange } from "../fixtures/socket-client.ts";
import { createTickets } from "./tickets.ts";

let house: House;
beforeAll(async () => {
  house = await startHouse();
});
afterAll(() => house[Symbol.asyncDispose]());

const ask = (token: string, url = house.url): Promise<Response> =>
  fetch(`${url}/graphql/ticket`, { method: "POST", headers: { authorization: `Bearer ${token}` } });
const ticketFor = async (token: string): Promise<string> => String(Object(await (await ask(token)).json())["ticket"]);
const init = (ticket: string): object => ({ type: "connection_init", payload: { ticket } });
const ME = { id: "1", type: "subscribe", payload: { query: "{ me { id } }" } };

const read = (data: RawData): unknown => (Buffer.isBuffer(data) ? JSON.parse(data.toString("utf8")) : undefined);

/** Opens a socket with a ticket; resolves with its first message, or how it was closed. */
async function open(ticket: string, url = house.socketUrl): Promise<unknown> {
  const socket = new WebSocket(url, "graphql-transport-ws");
  await once(socket, "open");
  socket.send(JSON.stringify(init(ticket)));
  const first = await Promise.race([
    once(socket, "message").then(([data]) => Object(read(data))["type"]),
    once(socket, "close").then(([, reason]) => String(reason)),
  ]);
  socket.terminate();
  return first;
}

describe("a ticket", () => {
  it("opens a socket as the person that it was given to", async () => {
    const ada = house.join();
    const response = await ask(await house.token(ada));
    expect(response.status).toBe(200);
    expect(response.headers.get("cache-control")).toBe("no-store");
    const { ticket, expiresIn } = Object(await response.json());
    expect(expiresIn).toBe(30);
    const socket = new WebSocket(house.socketUrl, "graphql-transport-ws");
    const received: unknown[] = [];
    socket.on("message", (data) => received.push(read(data)));
    await once(socket, "open");
    socket.send(JSON.stringify(init(ticket)));
    await eventually(() => expect(received).toHaveLength(1));
    socket.send(JSON.stringify(ME));
    await eventually(() =>
      expect(received).toContainEqual({ id: "1", type: "next", payload: { data: { me: { id: ada.userId } } } }),
    );
    socket.terminate();
  });

  it("is good once, at any replica", async () => {
    const ticket = await ticketFor(await house.token(house.join()));
    const other = (await house.startGateway("gateway-2")).replace("http", "ws") + "/graphql";
    const both = await Promise.all([open(ticket), open(ticket, other)]);
    expect(both.map(String).sort()).toEqual(["TICKET_USED", "connection_ack"]);
    expect(await open(ticket)).toBe("TICKET_USED");
  });

  it("is given to nobody who is not signed in", async () => {
    expect((await fetch(`${house.url}/graphql/ticket`, { method: "POST" })).status).toBe(401);
    expect((await ask("junk")).status).toBe(401);
  });

  it("does not outlive the sign-out of its session", async () => {
    const ada = house.join();
    const ticket = await ticketFor(await house.token(ada));
    await house.revoke(ada.sessionId, "SIGNED_OUT_REMOTELY");
    await eventually(() => expect(house.state.acks.at(-1)?.seq).toBe(house.state.revocations.at(-1)?.seq));
    expect(await open(ticket)).toBe("SESSION_ENDED: SIGNED_OUT_REMOTELY");
  });

  it("is refused when it cannot be known whether it was used", async () => {
    const ticket = await ticketFor(await house.token(house.join()));
    house.replayCache.isDown = true;
    try {
      expect(await open(ticket)).toBe("REPLAY_UNKNOWN");
    } finally {
      house.replayCache.isDown = false;
    }
  });

  it.each([
    ["forged", (ticket: string) => `${ticket.slice(0, -6)}AAAAAA`],
    ["an access token", (_ticket: string, token: string) => token],
    ["nothing", () => ""],
  ])("that is %s opens nothing", async (_case, spoil) => {
    const token = await house.token(house.join());
    expect(await open(spoil(await ticketFor(token), token))).toBe("TICKET_INVALID");
  });

  it("is the only way in for a token that is bound to a key, and needs a proof by it", async () => {
    const publicUrl = house.url;
    const client = await createDpopClient(house.url, publicUrl);
    const ada = house.join();
    const token = await house.token(ada, { jkt: client.jkt });
    const byToken = await exchange(house.socketUrl, [
      { type: "connection_init", payload: { authorization: `DPoP ${token}` } },
    ]);
    expect(byToken).toMatchObject({ code: 4403, reason: "TICKET_REQUIRED" });
    expect((await ask(token)).status).toBe(401);
    await client.graphql("{ me { id } }", token);
    const ticket = await client.ticket(token);
    expect(await open(ticket)).toBe("connection_ack");
  });

  it("of a token that is bound to a key changes nothing: no proof can be where it opens a stream", async () => {
    const client = await createDpopClient(house.url, house.url);
    const ada = house.join();
    const token = await house.token(ada, { jkt: client.jkt });
    await client.graphql("{ me { id } }", token);
    const query = `mutation { renameDevice(id: "${ada.deviceId}", name: "Mine") { name } }`;
    const refusal = { errors: [{ extensions: { reason: "DPOP_REQUIRED" } }] };

    const socket = new WebSocket(house.socketUrl, "graphql-transport-ws");
    const received: unknown[] = [];
    socket.on("message", (data) => received.push(read(data)));
    await once(socket, "open");
    socket.send(JSON.stringify(init(await client.ticket(token))));
    await eventually(() => expect(received).toEqual([{ type: "connection_ack" }]));
    socket.send(JSON.stringify({ id: "1", type: "subscribe", payload: { query } }));
    await eventually(() => expect(received[1]).toMatchObject({ id: "1", type: "next", payload: refusal }));
    socket.terminate();

    const stream = await fetch(`${house.url}/graphql/stream?ticket=${await client.ticket(token)}`, {
      method: "POST",
      headers: { "content-type": "application/json", accept: "text/event-stream" },
      body: JSON.stringify({ query }),
    });
    expect(await stream.text()).toContain('"reason":"DPOP_REQUIRED"');
  });
});

it("a ticket is used up for as long as it would be good, which is no longer than the token that it was given for", async () => {
  let at = Date.now();
  const { privateJwk } = await generateKey("Ed25519");
  const replayCache = createMemoryReplayCache(() => at);
  const tickets = createTickets({ privateJwk, replayCache, now: () => new Date(at) });
  const reasonOf = (ticket: string): Promise<string> =>
    tickets.redeem(ticket).then(
      () => "good",
      (refusal: AppError) => refusal.reason,
    );
  const claims = { ...claimsOf(randomUUID()), exp: Math.floor(at / 1_000) + 10 };
  const short = await tickets.issue(claims);
  expect(short.expiresIn).toBe(10);
  const { ticket } = await tickets.issue({ ...claims, exp: claims.exp + 300 });
  expect(await reasonOf(ticket)).toBe("good");
  const until = at + 29_000;
  for (; at < until; at += 1_000) expect(await reasonOf(ticket)).toBe("TICKET_USED");
  at += 2_000;
  expect([await reasonOf(ticket), await reasonOf(short.ticket)]).toEqual(["TICKET_EXPIRED", "TICKET_EXPIRED"]);
});

describe("a socket", () => {
  interface Connected {
    readonly socket: WebSocket;
    readonly messages: unknown[];
    readonly closed: Promise<unknown[]>;
  }

  /** Opens one, and collects what it hears. */
  async function connect(token: string): Promise<Connected> {
    const socket = new WebSocket(house.socketUrl, "graphql-transport-ws");
    const messages: unknown[] = [];
    socket.on("message", (data) => messages.push(read(data)));
    const closed: Promise<unknown[]> = once(socket, "close");
    await once(socket, "open");
    socket.send(JSON.stringify({ type: "connection_init", payload: { authorization: `Bearer ${token}` } }));
    await eventually(() => expect(messages).toEqual([{ type: "connection_ack" }]));
    return { socket, messages, closed };
  }
  const ping = (socket: WebSocket, payload: object): void => socket.send(JSON.stringify({ type: "ping", payload }));

  it("outlives its token when a fresh one is presented, by token or by ticket, and hears for how long", async () => {
    const ada = house.join();
    const fresh = await house.token(ada, { expiresIn: 300 });
    const short = await house.token(ada, { expiresIn: 5, scope: "profile" });
    const others = await connect(short);
    const renewed = await Promise.all([connect(short), connect(short)]);
    const payloads = [{ authorization: `Bearer ${fresh}` }, { ticket: await ticketFor(fresh) }];
    renewed.forEach(({ socket }, index) => ping(socket, payloads[index] ?? {}));
    for (const { messages } of renewed) {
      await eventually(() => expect(messages).toHaveLength(2));
      const { payload, type } = Object(messages[1]);
      expect([type, payload]).toEqual(["pong", { expiresIn: expect.any(Number) }]);
      expect(payload.expiresIn).toBeGreaterThan(200);
    }
    // The socket that was not renewed closes when its token expires.
    expect(String((await others.closed)[1])).toBe("TOKEN_EXPIRED");
    for (const { socket } of renewed) {
      // Its permissions are those of the fresh token.
      socket.send(JSON.stringify({ ...ME, payload: { query: "{ deviceChanges { to } }" } }));
      const [answer]: RawData[] = await once(socket, "message");
      expect(answer && read(answer)).toMatchObject({
        type: "next",
        payload: { data: { deviceChanges: expect.anything() } },
      });
      expect(socket.readyState).toBe(WebSocket.OPEN);
      socket.terminate();
    }
  });

  it("closes at its token's expiry otherwise, with the reason", async () => {
    const { closed } = await connect(await house.token(house.join(), { expiresIn: 4 }));
    const [code, reason] = await closed;
    expect([code, String(reason)]).toEqual([4403, "TOKEN_EXPIRED"]);
  });

  it.each([
    ["another session's token", async () => house.token(house.join()), "SESSION_MISMATCH"],
    ["a forged token", async () => "junk", "TOKEN_INVALID"],
  ])("closes when %s is presented", async (_case, other, expected) => {
    const { socket, closed } = await connect(await house.token(house.join()));
    ping(socket, { authorization: `Bearer ${await other()}` });
    const [code, reason] = await closed;
    expect([code, String(reason)]).toEqual([4403, expected]);
  });

  it("answers an ordinary ping", async () => {
    const { socket, messages } = await connect(await house.token(house.join()));
    ping(socket, { anything: 1 });
    await eventually(() => expect(messages).toContainEqual({ type: "pong", payload: { anything: 1 } }));
    socket.terminate();
  });

  it("of a session whose policy is closed is ended while revocations cannot be known, others stay", async () => {
    await using away = await startHouse();
    const [closedPosture, strict] = [away.join(), away.join()];
    const opened = await Promise.all(
      (
        [
          [closedPosture, "CLOSED"],
          [strict, "STRICT"],
        ] as const
      ).map(async ([person, posture]) => {
        const socket = new WebSocket(away.socketUrl, "graphql-transport-ws");
        await once(socket, "open");
        const authorization = `Bearer ${await away.token(person, { posture })}`;
        socket.send(JSON.stringify({ type: "connection_init", payload: { authorization } }));
        await once(socket, "message");
        return socket;
      }),
    );
    const [first, second] = opened;
    if (!first || !second) throw new Error("two sockets are open");
    const closing: Promise<unknown[]> = once(first, "close");
    away.proxies.session.down();
    const [code, reason] = await closing;
    expect([code, String(reason)]).toEqual([1013, "REVOCATION_UNKNOWN"]);
    expect(second.readyState).toBe(WebSocket.OPEN);
    // Its operations are refused before any subgraph is called.
    second.send(JSON.stringify(ME));
    const [answer]: RawData[] = await once(second, "message");
    expect(answer && read(answer)).toMatchObject({
      type: "error",
      payload: [{ extensions: { reason: "REVOCATION_UNKNOWN" } }],
    });
    expect(away.state.calls).toEqual([]);
    second.terminate();
  });
});
