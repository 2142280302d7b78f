/**
 * A client that does not read for a while, on a socket and over HTTP (multipart differs only in framing): meanwhile
 * nothing is read for it, and nothing is lost.
 */
import { generateKey } from "@continuo/access";
import { createHealth, createLogger, metrics } from "@continuo/process";
import { once } from "node:events";
import { type IncomingMessage, request } from "node:http";
import { connect, type Socket } from "node:net";
import { afterAll, beforeAll, expect, it } from "vitest";
import { WebSocket } from "ws";
import { createNonces } from "./dpop/nonces.ts";
import { eventually } from "./fixtures/eventually.ts";
import { createFront } from "./front.ts";
import { type House, type Person, startHouse } from "./fixtures/house.ts";

const STATE = "subscription { stateChanges { from to entries { key value } } }";
const BIG = "x".repeat(1024 * 1024);
/** An event that has not arrived within this time counts as not sent. Milliseconds. */
const A_WHILE_MS = 250;
const MISSED = 20;

let house: House;
beforeAll(async () => {
  house = await startHouse({ waits: { recheckMs: 60_000 } });
});
afterAll(() => house[Symbol.asyncDispose]());

interface Reader {
  /** What has come, as text. */
  readonly text: () => string;
  /** Whether the connection was reset, so that the kernel's buffered data is not sent. */
  readonly wasReset: Promise<boolean>;
  pause(): void;
  resume(): void;
  leave(): void;
}

async function wasReset(connection: Socket): Promise<boolean> {
  return new Promise((resolve) => connection.once("close", resolve));
}

/** Has said who it is. */
async function connectAs(
  person: Person,
  onUpgrade: (answer: IncomingMessage) => void = () => undefined,
): Promise<WebSocket> {
  const socket = new WebSocket(house.socketUrl, "graphql-transport-ws");
  socket.on("error", () => undefined);
  socket.once("upgrade", onUpgrade);
  await once(socket, "open");
  const authorization = `Bearer ${await house.token(person)}`;
  socket.send(JSON.stringify({ type: "connection_init", payload: { authorization } }));
  return socket;
}

async function overSocket(person: Person): Promise<Reader> {
  const upgraded = Promise.withResolvers<IncomingMessage>();
  const socket = await connectAs(person, upgraded.resolve);
  const connection = (await upgraded.promise).socket;
  let text = "";
  socket.on("message", (data) => {
    if (Buffer.isBuffer(data)) text += data.toString();
  });
  await once(socket, "message");
  socket.send(JSON.stringify({ type: "subscribe", id: "1", payload: { query: STATE } }));
  return {
    text: () => text,
    wasReset: wasReset(connection),
    pause: () => socket.pause(),
    resume: () => socket.resume(),
    leave: () => socket.terminate(),
  };
}

async function refusedOverSocket(person: Person): Promise<string> {
  const [code, reason] = await once(await connectAs(person), "close");
  return `${String(code)} ${String(reason)}`;
}

async function refusedOverHttp(person: Person): Promise<string> {
  const headers = await headersOf(person);
  const answer = await fetch(`${house.url}/graphql/stream`, {
    method: "POST",
    headers,
    body: JSON.stringify({ query: STATE }),
  });
  return `${answer.status} ${await answer.text()}`;
}

const headersOf = async (person: Person): Promise<Record<string, string>> => ({
  accept: "text/event-stream",
  authorization: `Bearer ${await house.token(person)}`,
  "content-type": "application/json",
});

async function overHttp(person: Person): Promise<Reader> {
  const headers = await headersOf(person);
  const asked = request(`${house.url}/graphql/stream`, { method: "POST", headers });
  asked.on("error", () => undefined);
  asked.end(JSON.stringify({ query: STATE }));
  const answer = await new Promise<IncomingMessage>((resolve) => asked.once("response", resolve));
  let text = "";
  answer.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
  answer.on("error", () => undefined);
  return {
    text: () => text,
    wasReset: wasReset(answer.socket),
    pause: () => answer.pause(),
    resume: () => answer.resume(),
    leave: () => answer.destroy(),
  };
}

/** The `[from, to]` of each event. */
const rangesIn = (text: string): string[][] =>
  [...text.matchAll(/"from":(?:"(\w+)"|null),"to":"(\w+)"/g)].map(([, from = "", to = ""]) => [from, to]);

async function valueOf(series: string): Promise<number> {
  const line = (await metrics.text()).split("\n").find((each) => each.startsWith(`${series} `));
  return Number(line?.slice(series.length + 1) ?? 0);
}

it.each([
  ["SOCKET", overSocket],
  ["EVENT_STREAM", overHttp],
])("is told of all that it missed in one event, once it reads again: %s", async (transport, open) => {
  const person = house.join();
  const told = `continuo_live_events_total{transport="${transport}"}`;
  const [toldBefore, coalescedBefore] = [await valueOf(told), await valueOf("continuo_live_coalesced_total")];
  const reader = await open(person);
  await eventually(() => expect(rangesIn(reader.text())).toHaveLength(1));
  reader.pause();

  const reads = (): number => house.state.pulls.length;
  let written = 0;
  const isReadFor = async (value: string): Promise<boolean> => {
    const before = reads();
    await house.write(person, `k${written}`, value);
    written += 1;
    for (let waitedMs = 0; waitedMs < A_WHILE_MS && reads() === before; waitedMs += 10)
      await new Promise((resolve) => setTimeout(resolve, 10));
    return reads() > before;
  };
  // Fill the kernel's buffers.
  while (await isReadFor(BIG));
  const before = reads();
  for (let missed = 0; missed < MISSED; missed += 1) await house.write(person, `k${written++}`, "small");
  expect(reads()).toBe(before);
  expect(await valueOf("continuo_live_coalesced_total")).toBeGreaterThanOrEqual(coalescedBefore + MISSED);

  reader.resume();
  await eventually(() => expect(reader.text()).toContain(`"to":"s${written}"`));
  const ranges = rangesIn(reader.text());
  expect(["", ...ranges.map(([, to]) => to)]).toEqual([...ranges.map(([from]) => from), `s${written}`]);
  expect(ranges.length).toBeLessThan(written - MISSED + 2);
  expect(await valueOf(told)).toBe(toldBefore + ranges.length);
  reader.leave();
  await eventually(async () => expect(await valueOf(`continuo_streams_open{transport="${transport}"}`)).toBe(0));
});

it.each([
  ["SOCKET", overSocket, refusedOverSocket],
  ["EVENT_STREAM", overHttp, refusedOverHttp],
])(
  "gets nothing of what still waits for it once its session has ended, and is told why when it comes back: %s",
  async (transport, open, refusalOf) => {
    const person = house.join();
    const told = `continuo_live_events_total{transport="${transport}"}`;
    const reader = await open(person);
    await eventually(() => expect(rangesIn(reader.text())).toHaveLength(1));
    const toldBefore = await valueOf(told);
    reader.pause();
    let [reads, written] = [-1, 0];
    while (reads < house.state.pulls.length) {
      reads = house.state.pulls.length;
      await house.write(person, `k${written++}`, BIG);
      for (let waitedMs = 0; waitedMs < A_WHILE_MS && reads === house.state.pulls.length; waitedMs += 10)
        await new Promise((resolve) => setTimeout(resolve, 10));
    }
    await house.revoke(person.sessionId, "SIGNED_OUT_REMOTELY");
    await eventually(() =>
      expect(house.state.acks.at(-1)).toMatchObject({ seq: house.state.revocations.length, socketsClosed: 1 }),
    );
    await eventually(async () => expect(await valueOf(`continuo_streams_open{transport="${transport}"}`)).toBe(0));

    reader.resume();
    expect(await reader.wasReset).toBe(true);
    expect(reader.text()).not.toContain("SESSION_ENDED");
    expect(reader.text().length).toBeLessThan(((await valueOf(told)) - toldBefore) * BIG.length);
    expect(await refusalOf(person)).toMatch(/^(4403|401) .*SESSION_ENDED.*SIGNED_OUT_REMOTELY/);
  },
);

async function startFront(limits: { stalledAfterMs?: number; requestWithinMs?: number }) {
  const http = await createFront({
    health: createHealth(),
    nonces: createNonces(await generateKey("Ed25519").then(({ privateJwk }) => privateJwk)),
    allowedOrigins: [],
    logger: createLogger({ name: "test", level: "silent" }),
    ...limits,
  });
  http.get("/long", () => BIG.repeat(20));
  http.post("/long", () => "read");
  const { port } = new URL(await http.listen({ host: "127.0.0.1", port: 0 }));
  return { http, port: Number(port), [Symbol.asyncDispose]: () => http.close() };
}

it("is cut off when it takes nothing of an answer", async () => {
  await using front = await startFront({ stalledAfterMs: 200 });
  const client = connect(front.port, "127.0.0.1");
  client.pause();
  client.write("GET /long HTTP/1.1\r\nhost: gateway\r\n\r\n");
  const [stream] = await once(front.http.server, "connection");
  await once(stream, "close");
  expect(client.bytesRead).toBeLessThan(20 * BIG.length);
  client.destroy();
});

it.each([
  ["headers", "x-slow: 1\r\n"],
  ["a body", "content-type: application/json\r\ncontent-length: 1000000\r\n\r\n{"],
])("is told so and cut off when it sends %s without an end, however often it sends some more", async (_what, begun) => {
  await using front = await startFront({ requestWithinMs: 500 });
  const client = connect(front.port, "127.0.0.1");
  client.on("error", () => undefined);
  let answer = "";
  client.setEncoding("utf8").on("data", (chunk: string) => (answer += chunk));
  client.write(`POST /long HTTP/1.1\r\nhost: gateway\r\n${begun}`);
  const dripping = setInterval(() => client.write("a"), 50);
  try {
    await once(client, "close");
  } finally {
    clearInterval(dripping);
  }
  expect(answer).toMatch(/^HTTP\/1.1 408 /);
});
