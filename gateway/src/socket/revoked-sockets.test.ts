import * as fc from "fast-check";
import { once } from "node:events";
import { setImmediate as turn } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import { BROKEN, type Client, type Door, openDoor } from "../fixtures/door.ts";
import { eventually } from "../fixtures/eventually.ts";

const subscribe = ({ socket }: Client, id: string, query = "subscription { tick }"): void =>
  socket.send(JSON.stringify({ id, type: "subscribe", payload: { query } }));
const isAcknowledged = ({ messages }: Client): boolean => messages[0]?.type === "connection_ack";
const ticksOf = ({ messages }: Client): number[] =>
  messages.flatMap(({ type, payload }) => (type === "next" ? [Number(Object(payload)["data"]["tick"])] : []));
const ENDED = "4403 SESSION_ENDED: SIGNED_OUT_REMOTELY";

describe("a socket that is being opened while its session is revoked", () => {
  it.each([
    ["before", async (door: Door) => door.release(), async () => undefined],
    ["after", async () => undefined, async (door: Door) => door.release()],
  ])("never survives, its token verified %s the revocation is applied", async (_when, first, second) => {
    await using door = await openDoor();
    door.hold();
    const clients = await Promise.all(["s1", "s1", "s2"].map((sessionId) => door.connect(sessionId)));
    const seq = door.append("s1", "ENDED");
    await first(door);
    await door.read();
    await second(door);
    await eventually(() => expect(clients.map(({ closed }) => closed)).toEqual([ENDED, ENDED, undefined]));
    const [one, two, other] = clients;
    await eventually(() => expect(other && isAcknowledged(other)).toBe(true));
    const acknowledged = [one, two].filter((client) => client && isAcknowledged(client)).length;
    await door.read();
    expect(door.closed.get(seq)).toBe(acknowledged);
  });
});

it.each([
  ["after it was acknowledged", true],
  ["while its token was being verified", false],
])("a socket that leaves %s takes up no room any more", async (_when, isVerified) => {
  await using door = await openDoor();
  if (!isVerified) door.hold();
  const clients = await Promise.all(Array.from({ length: 32 }, () => door.connect("s1")));
  await eventually(() => expect(clients.every((client) => isAcknowledged(client) === isVerified)).toBe(true));
  await Promise.all(clients.map(({ socket }) => (socket.close(1000), once(socket, "close"))));
  door.release();
  await eventually(async () => {
    const next = await door.connect("s1");
    await eventually(() => expect(next.messages.length > 0 || next.closed !== undefined).toBe(true));
    expect(isAcknowledged(next)).toBe(true);
  });
});

it("an operation that cannot begin ends by itself: the others of its socket go on, and its id is free again", async () => {
  await using door = await openDoor();
  const client = await door.connect("s1");
  await eventually(() => expect(isAcknowledged(client)).toBe(true));
  const told = (): string[] => client.messages.flatMap(({ id, type }) => (id === undefined ? [] : `${type} ${id}`));
  subscribe(client, "a");
  subscribe(client, "b", BROKEN);
  await eventually(() => expect(told()).toContain("error b"));
  subscribe(client, "b");
  await eventually(() => {
    door.tick();
    expect(told()).toEqual(expect.arrayContaining(["next a", "next b"]));
  });
  expect(client.closed).toBeUndefined();
});

it("an operation's last message is why its session ended, for each that is open, and nothing comes after", async () => {
  await using door = await openDoor();
  const client = await door.connect("s1");
  await eventually(() => expect(isAcknowledged(client)).toBe(true));
  for (const id of ["a", "b", "c"]) subscribe(client, id);
  // Operations start in turn; once each has had a tick, all of them have.
  await eventually(() => {
    door.tick();
    expect(new Set(client.messages.flatMap(({ id }) => id ?? [])).size).toBe(3);
  });
  door.append("s1", "ENDED");
  await door.read();
  door.tick();
  await eventually(() => expect(client.closed).toBe(ENDED));
  const last = client.messages.slice(-3);
  expect(last.map(({ id, type }) => `${type} ${id}`)).toEqual(["error a", "error b", "error c"]);
  for (const { payload } of last)
    expect(payload).toMatchObject([
      { extensions: { reason: "SESSION_ENDED", details: { endReason: "SIGNED_OUT_REMOTELY" } } },
    ]);
});

/** Resolves when all that was sent to a client has arrived. */
async function answered({ socket, closed }: Client): Promise<void> {
  if (closed !== undefined) return;
  const closing = once(socket, "close");
  if (socket.readyState === WebSocket.OPEN) socket.ping();
  await Promise.race([once(socket, "pong"), closing]);
}

type Step =
  | { readonly does: "connect" | "ENDED" | "RESTORED"; readonly sessionId: string }
  | { readonly does: "subscribe" | "leave"; readonly client: number }
  | { readonly does: "tick" | "read" | "hold" | "release" | "down" | "up" | "strict" | "settle" };

const sessionIds = ["s1", "s2", "closed-s3"];
const steps = fc.array(
  fc.oneof(
    {
      weight: 4,
      arbitrary: fc.record({ does: fc.constantFrom("connect" as const), sessionId: fc.constantFrom(...sessionIds) }),
    },
    {
      weight: 3,
      arbitrary: fc.record({
        does: fc.constantFrom("ENDED" as const, "RESTORED" as const),
        sessionId: fc.constantFrom(...sessionIds),
      }),
    },
    {
      weight: 4,
      arbitrary: fc.record({
        does: fc.constantFrom("subscribe" as const, "leave" as const),
        client: fc.nat({ max: 9 }),
      }),
    },
    {
      weight: 12,
      arbitrary: fc.record({
        does: fc.constantFrom(
          "tick" as const,
          "read",
          "hold",
          "release",
          "down",
          "up",
          "strict",
          "tick",
          "read",
          "settle",
          "settle",
        ),
      }),
    },
  ),
  { minLength: 5, maxLength: 40 },
);

it("whatever is interleaved, no event is written to a socket once its session's end is applied, and receipts count what was closed", async () => {
  let seen = { closed: 0, refused: 0, ticks: 0 };
  await fc.assert(
    fc.asyncProperty(steps, async (plan: readonly Step[]) => {
      await using door = await openDoor();
      const clients: Client[] = [];
      const reads: Promise<unknown>[] = [];
      const ends: number[] = [];
      let operations = 0;
      for (const step of plan) {
        if (step.does === "connect") clients.push(await door.connect(step.sessionId));
        else if (step.does === "ENDED") ends.push(door.append(step.sessionId, "ENDED"));
        else if (step.does === "RESTORED") door.append(step.sessionId, "RESTORED");
        else if (step.does === "subscribe") {
          const client = clients[step.client % clients.length];
          if (client?.socket.readyState === WebSocket.OPEN && isAcknowledged(client))
            subscribe(client, `${++operations}`);
        } else if (step.does === "leave") {
          const client = clients[step.client % clients.length];
          if (!client || client.closed !== undefined) continue;
          const closing = once(client.socket, "close");
          client.socket.close(1000);
          await closing;
        } else if (step.does === "tick") door.tick();
        else if (step.does === "read") reads.push(door.read().catch(() => undefined));
        else if (step.does === "hold") door.hold();
        else if (step.does === "release") door.release();
        else if (step.does === "down") door.isDown = true;
        else if (step.does === "up") door.isDown = false;
        else if (step.does === "strict") door.elapse(3_100);
        else for (let round = 0; round < 20; round += 1) await turn();
        await turn();
      }
      door.isDown = false;
      door.release();
      await Promise.all(reads);
      await door.read();
      door.tick();
      door.elapse(1_000);
      await door.read();
      // Everything sent has arrived once each client is closed or acknowledged.
      await eventually(() =>
        expect(clients.every((client) => client.closed !== undefined || isAcknowledged(client))).toBe(true),
      );
      await Promise.all(clients.map(answered));

      const isEnded = ({ closed }: Client): boolean => closed === ENDED;
      for (const client of clients.filter(isEnded)) {
        const lastTick = door.lastTickOf.get(client.sessionId) ?? 0;
        expect(ticksOf(client).filter((tick) => tick > lastTick)).toEqual([]);
        const open = new Set(
          client.messages.flatMap(({ id, type }) => (id !== undefined && type === "next" ? [id] : [])),
        );
        const told = new Set(
          client.messages.flatMap(({ id, type }) => (id !== undefined && type === "error" ? [id] : [])),
        );
        expect([...open].filter((id) => !told.has(id))).toEqual([]);
      }
      const counted = ends.reduce((sum, seq) => sum + (door.closed.get(seq) ?? Number.NaN), 0);
      const acknowledged = clients.filter((client) => isEnded(client) && isAcknowledged(client)).length;
      const unanswered = clients.filter((client) => isEnded(client) && !isAcknowledged(client)).length;
      // A socket that ends between its registration and its acknowledgement is counted, although it sees none.
      expect(counted).toBeGreaterThanOrEqual(acknowledged);
      expect(counted).toBeLessThanOrEqual(acknowledged + unanswered);
      seen = {
        closed: seen.closed + acknowledged,
        refused: seen.refused + unanswered,
        ticks: seen.ticks + clients.reduce((sum, client) => sum + ticksOf(client).length, 0),
      };
      for (const { socket } of clients) socket.terminate();
    }),
    { numRuns: 300 },
  );
  // The property would also hold if nothing ever happened.
  expect(Math.min(seen.closed, seen.refused, seen.ticks)).toBeGreaterThan(0);
});
