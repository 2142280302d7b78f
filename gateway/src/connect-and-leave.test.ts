/**
 * Clients that connect and leave, over any transport and at any moment, leave nothing behind. What remains is counted.
 */
import { once } from "node:events";
import { Agent, request } from "undici";
import { afterAll, beforeAll, expect, it } from "vitest";
import { WebSocket } from "ws";
import { eventually } from "./fixtures/eventually.ts";
import { type House, startHouse } from "./fixtures/house.ts";

/** Per way of connecting and leaving. */
const CYCLES = 200;
const AT_ONCE = 16;
/** A session may have 32 streams, so streams that leak would soon keep new ones out. */
const SESSIONS = 4;
/** A gateway listens for revocations and for changes of the signing keys. */
const IDLE_LISTENERS = 2;
const STATE = `subscription { stateChanges { to } }`;
const DEVICES = `subscription { deviceChanged { devices { name syncStatus { ackedRev } } } }`;

let house: House;
let tokens: string[];
let agent: Agent;
beforeAll(async () => {
  house = await startHouse();
  tokens = await Promise.all(Array.from({ length: SESSIONS }, () => house.token(house.join(2))));
  agent = new Agent({ connections: AT_ONCE });
});
afterAll(async () => {
  await agent.close();
  await house[Symbol.asyncDispose]();
});

let taken = 0;
const authorization = (): string => `Bearer ${tokens[(taken += 1) % SESSIONS]}`;
const send = (socket: WebSocket, message: object): void => socket.send(JSON.stringify(message));
const introduce = (socket: WebSocket): void =>
  send(socket, { type: "connection_init", payload: { authorization: authorization() } });
const subscribe = (socket: WebSocket, query = STATE): void =>
  send(socket, { id: "1", type: "subscribe", payload: { query } });

async function openSocket(): Promise<WebSocket> {
  const socket = new WebSocket(house.socketUrl, "graphql-transport-ws");
  await once(socket, "open");
  return socket;
}

async function closed(socket: WebSocket, close: () => void): Promise<void> {
  const closing = once(socket, "close");
  close();
  await closing;
}

/** Introduced, and past its first event. */
async function openLive(query?: string): Promise<WebSocket> {
  const socket = await openSocket();
  introduce(socket);
  await once(socket, "message");
  subscribe(socket, query);
  const [event]: unknown[] = await once(socket, "message");
  expect(String(event)).toContain(`"type":"next"`);
  return socket;
}

type Asked = Omit<NonNullable<Parameters<typeof request>[1]>, "dispatcher">;
const ask = (path: string, asked: Asked): ReturnType<typeof request> =>
  request(`${house.url}${path}`, { ...asked, dispatcher: agent });
const json = (query: string, extensions?: object): Asked => ({
  method: "POST",
  body: JSON.stringify({ query, ...(extensions && { extensions }) }),
});

/** Reads until there is an event, and leaves. */
async function readAndLeave({ statusCode, body }: Awaited<ReturnType<typeof request>>): Promise<void> {
  expect(statusCode).toBe(200);
  let text = "";
  for await (const chunk of body) {
    text += String(chunk);
    if (text.includes("stateChanges")) break;
  }
  expect(text).toContain("stateChanges");
}

async function openStream(path: string, accept: string): Promise<void> {
  const headers = { accept, authorization: authorization(), "content-type": "application/json" };
  await readAndLeave(await ask(path, { ...json(STATE), headers }));
}

async function reserveStream(): Promise<void> {
  const caller = { authorization: authorization() };
  const reserved = await ask("/graphql/stream", { method: "PUT", headers: caller });
  const token = await reserved.body.text();
  const fetched = await ask(`/graphql/stream?token=${token}`, { method: "GET" });
  const headers = { ...caller, "content-type": "application/json", "x-graphql-event-stream-token": token };
  const accepted = await ask("/graphql/stream", { ...json(STATE, { operationId: "1" }), headers });
  await accepted.body.dump();
  expect([reserved.statusCode, accepted.statusCode]).toEqual([201, 202]);
  await readAndLeave(fetched);
}

const ways: (() => Promise<void>)[] = [
  async () => {
    const socket = await openLive();
    await closed(socket, () => socket.close(1000));
  },
  async () => {
    const socket = await openLive(DEVICES);
    await closed(socket, () => socket.terminate());
  },
  async () => {
    const socket = await openSocket();
    introduce(socket);
    await closed(socket, () => socket.close(1000));
  },
  async () => {
    const socket = await openSocket();
    introduce(socket);
    await once(socket, "message");
    subscribe(socket, DEVICES);
    await closed(socket, () => socket.terminate());
  },
  () => openStream("/graphql/stream", "text/event-stream"),
  () => openStream("/graphql", "multipart/mixed;subscriptionSpec=1.0"),
  reserveStream,
];

async function comeAndGo(cycles: number): Promise<void> {
  let begun = 0;
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      while (begun < cycles * ways.length) await ways[begun++ % ways.length]?.();
    }),
  );
}

/** How much of a kind this process has open, or waits for. */
const count = (kind: string): number => process.getActiveResourcesInfo().filter((each) => each === kind).length;
const idle = (): Promise<void> => eventually(() => expect(house.pokes.listeners).toBe(IDLE_LISTENERS));

it("clients of every transport that come and go at any moment leave no listener, timer, socket or place taken", async () => {
  // Warms up whatever is kept, such as connections to subgraphs.
  await comeAndGo(5);
  await idle();
  const [timers, sockets] = [count("Timeout"), count("TCPSocketWrap")];
  await comeAndGo(CYCLES);
  await idle();
  await eventually(() => {
    expect(count("Timeout")).toBeLessThan(timers + CYCLES / 4);
    expect(count("TCPSocketWrap")).toBeLessThan(sockets + CYCLES / 4);
  });
});
