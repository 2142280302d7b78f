/** Frames that no client library would send: each closes its own socket with the right code, and no other socket. */
import fc from "fast-check";
import { once } from "node:events";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import { z } from "zod";
import { eventually } from "../fixtures/eventually.ts";
import { type House, type Person, startHouse } from "../fixtures/house.ts";
import { createTestClient, type Running, type TestClient } from "../fixtures/socket-client.ts";

const STATE = `subscription { stateChanges { from to entries { key } } }`;
const Message = z.object({ type: z.string(), id: z.string().optional(), payload: z.unknown().optional() });
const KiB = 1024;

let house: House;
let ada: Person;
let token: string;
/** Another socket of the same session, and what it watches. */
let phone: TestClient;
let live: Running;
beforeAll(async () => {
  house = await startHouse();
  ada = house.join();
  token = await house.token(ada);
  phone = createTestClient(house.socketUrl, token);
  live = phone.run(STATE);
  await heard(1);
});
afterAll(async () => {
  await phone[Symbol.asyncDispose]();
  await house[Symbol.asyncDispose]();
});

let before: number;
beforeEach(() => {
  before = live.results.length;
});
afterEach(unharmed);

const heard = (events: number): Promise<void> => eventually(() => expect(live.results).toHaveLength(events));

/** The other socket received every event so far, and receives the next. */
async function unharmed(): Promise<void> {
  await house.write(ada, `after-${before}`, 1);
  await heard(before + 1);
  expect([live.failure(), phone.closes]).toEqual([undefined, []]);
}

type Frame = string | Buffer | object;
type Send = Parameters<WebSocket["send"]>[1];

interface Probe {
  readonly messages: z.infer<typeof Message>[];
  /** Code and reason, once it is closed. */
  closed: string | undefined;
  send(frame: Frame, options?: Send): void;
  /** Resolves when everything sent has been handled, or the socket is closed. */
  settled(): Promise<void>;
  leave(): void;
}

async function open(isIntroduced = true): Promise<Probe> {
  const socket = new WebSocket(house.socketUrl, "graphql-transport-ws");
  let pings = 0;
  const probe: Probe = {
    messages: [],
    closed: undefined,
    send: (frame, options = {}) =>
      socket.send(typeof frame === "string" || Buffer.isBuffer(frame) ? frame : JSON.stringify(frame), options),
    async settled() {
      pings += 1;
      probe.send({ type: "ping", payload: { n: pings } });
      await eventually(() =>
        expect(
          probe.closed !== undefined ||
            probe.messages.some(({ type, payload }) => type === "pong" && Object(payload)["n"] === pings),
        ).toBe(true),
      );
    },
    leave: () => socket.close(1000),
  };
  socket.on("message", (data) => {
    if (Buffer.isBuffer(data)) probe.messages.push(Message.parse(JSON.parse(data.toString("utf8"))));
  });
  socket.on("error", () => undefined);
  socket.once("close", (code, reason) => {
    probe.closed = `${code} ${String(reason)}`;
  });
  await once(socket, "open");
  if (!isIntroduced) return probe;
  probe.send({ type: "connection_init", payload: { authorization: `Bearer ${token}` } });
  await eventually(() => expect(probe.messages[0]?.type).toBe("connection_ack"));
  return probe;
}

const subscribe = (payload: unknown, id: unknown = "1"): object => ({ id, type: "subscribe", payload });
const init = (): object => ({ type: "connection_init", payload: { authorization: `Bearer ${token}` } });

describe("closes the socket that sends", () => {
  it.each<[string, number, Frame]>([
    ["nothing", 4400, ""],
    ["what is not JSON", 4400, "}{"],
    ["bytes that are no text", 4400, Buffer.from([0xff, 0xfe, 0x00])],
    ["null", 4400, "null"],
    ["a number", 4400, "42"],
    ["a list", 4400, "[]"],
    ["a message without a type", 4400, {}],
    ["a message of a type that is none", 4400, { type: "unsubscribe", id: "1" }],
    ["a message of the protocol before this one", 4400, { type: "start", id: "1", payload: { query: STATE } }],
    ["an operation without an id", 4400, { type: "subscribe", payload: { query: STATE } }],
    ["an operation whose id is empty", 4400, subscribe({ query: STATE }, "")],
    ["an operation whose id is a number", 4400, subscribe({ query: STATE }, 1)],
    ["an operation without a payload", 4400, { id: "1", type: "subscribe" }],
    ["an operation whose query is no text", 4400, subscribe({ query: 1 })],
    ["an operation whose variables are none", 4400, subscribe({ query: STATE, variables: 1 })],
    ["an operation whose name is none", 4400, subscribe({ query: STATE, operationName: 1 })],
    ["an operation whose extensions are none", 4400, subscribe({ query: STATE, extensions: 1 })],
    ["the end of an operation without its id", 4400, { type: "complete" }],
    ["a ping whose payload is none", 4400, { type: "ping", payload: 1 }],
    ["what only servers send: an acknowledgement", 4400, { type: "connection_ack" }],
    ["what only servers send: an event", 4400, { type: "next", id: "1", payload: { data: {} } }],
    ["what only servers send: an error", 4400, { type: "error", id: "1", payload: [{ message: "no" }] }],
    ["a second introduction", 4429, { type: "connection_init" }],
    ["more than 256 KiB", 1009, " ".repeat(256 * KiB + 1)],
  ])("%s", async (_what, code, frame) => {
    const probe = await open();
    probe.send(frame);
    await eventually(() => expect(probe.closed?.split(" ")[0]).toBe(String(code)));
  });

  it.each<[string, number, (probe: Probe) => void]>([
    ["an operation before it has introduced itself", 4401, (probe) => probe.send(subscribe({ query: STATE }))],
    [
      "two introductions at once",
      4429,
      (probe) => {
        probe.send(init());
        probe.send(init());
      },
    ],
    [
      "an operation before its introduction is answered",
      4401,
      (probe) => {
        probe.send(init());
        probe.send(subscribe({ query: STATE }));
      },
    ],
    ["a ticket that is none", 4403, (probe) => probe.send({ type: "connection_init", payload: { ticket: "x" } })],
    [
      "a token that is no text",
      4403,
      (probe) => probe.send({ type: "connection_init", payload: { authorization: 1 } }),
    ],
  ])("%s", async (_what, code, send) => {
    const probe = await open(false);
    send(probe);
    await eventually(() => expect(probe.closed?.split(" ")[0]).toBe(String(code)));
  });

  it.each<[string, number, (probe: Probe) => void]>([
    ["text that is not UTF-8", 1007, (probe) => probe.send(Buffer.from([0xc3, 0x28]), { binary: false })],
    ["a frame without a mask", 1002, (probe) => probe.send({ type: "ping" }, { mask: false })],
    [
      "more than 256 KiB in parts",
      1009,
      (probe) => {
        for (let part = 0; part < 9; part += 1) probe.send(" ".repeat(32 * KiB), { fin: part === 8 });
      },
    ],
    [
      "two operations of one id",
      4409,
      (probe) => {
        probe.send(subscribe({ query: STATE }));
        probe.send(subscribe({ query: STATE }));
      },
    ],
    [
      "two operations of one id that no reason has room for",
      4409,
      (probe) => {
        probe.send(subscribe({ query: STATE }, "id".repeat(KiB)));
        probe.send(subscribe({ query: STATE }, "id".repeat(KiB)));
      },
    ],
  ])("%s", async (_what, code, send) => {
    const probe = await open();
    send(probe);
    await eventually(() => expect(probe.closed?.split(" ")[0]).toBe(String(code)));
  });

  it("whatever it is: never is it our fault", async () => {
    const json = fc.json({ maxDepth: 3 });
    const message = fc.record(
      {
        type: fc.constantFrom("subscribe", "complete", "ping", "pong", "next", "error", "connection_init", "__proto__"),
        id: fc.oneof(fc.constantFrom("1", "__proto__", "constructor", ""), fc.jsonValue()),
        payload: fc.oneof(
          fc.jsonValue(),
          fc.record({ query: fc.constantFrom(STATE, "{", "{ me { id } }", ""), variables: fc.jsonValue() }),
        ),
      },
      { requiredKeys: ["type"] },
    );
    const frames = fc.array(fc.oneof(json, fc.string(), message), { minLength: 1, maxLength: 5 });
    await fc.assert(
      fc.asyncProperty(frames, async (sent) => {
        const probe = await open();
        for (const frame of sent) probe.send(frame);
        await probe.settled();
        probe.leave();
        expect(probe.closed ?? "1000").toMatch(/^(1000|4400|4403|4409|4429)/);
      }),
      { numRuns: 50 },
    );
  });
});

describe("answers for itself, and leaves the socket's other operations alone:", () => {
  it.each<[string, object, string]>([
    ["an operation that is unknown", { query: STATE, operationName: "Other" }, "OPERATION_UNKNOWN"],
    ["several operations and no name", { query: "query A { me { id } } query B { me { id } }" }, "OPERATION_UNKNOWN"],
    ["a text that is none", { query: "subscription {" }, "DOCUMENT_INVALID"],
    ["an empty text", { query: "" }, "DOCUMENT_INVALID"],
    ["a field that is unknown", { query: "subscription { shoeSize }" }, "DOCUMENT_INVALID"],
    [
      "@skip on the root by a variable",
      { query: "subscription ($no: Boolean!) { stateChanges @skip(if: $no) { to } }", variables: { no: false } },
      "SUBSCRIPTION_UNSUPPORTED",
    ],
    [
      "@include on the root",
      { query: "subscription { stateChanges @include(if: true) { to } }" },
      "SUBSCRIPTION_UNSUPPORTED",
    ],
    [
      "@skip on a fragment at the root",
      { query: "subscription { ... @skip(if: true) { stateChanges { to } } }" },
      "SUBSCRIPTION_UNSUPPORTED",
    ],
    [
      "two fields at the root",
      { query: "subscription { stateChanges { to } deviceChanged { to } }" },
      "DOCUMENT_INVALID",
    ],
    [
      "a variable that is missing",
      { query: "subscription ($s: String!) { stateChanges(since: $s) { to } }" },
      "VARIABLES_INVALID",
    ],
    [
      "a variable of another type",
      { query: "subscription ($s: String) { stateChanges(since: $s) { to } }", variables: { s: {} } },
      "VARIABLES_INVALID",
    ],
    ["a cursor that is none", { query: `subscription { stateChanges(since: "x") { to } }` }, "CURSOR_INVALID"],
    ["a text without end", { query: `{ ${"me { id } ".repeat(5_000)} }` }, "TOO_MANY_TOKENS"],
    [
      "brackets without end",
      { query: `{ me(a: ${"[".repeat(2_000)}${"]".repeat(2_000)}) { id } }` },
      "NESTED_TOO_DEEPLY",
    ],
  ])("%s", async (_what, payload, reason) => {
    const probe = await open();
    probe.send(subscribe({ query: STATE }, "live"));
    await eventually(() => expect(probe.messages.some(({ id, type }) => id === "live" && type === "next")).toBe(true));
    probe.send(subscribe(payload, "faulty"));
    await eventually(() =>
      expect(probe.messages.find(({ id }) => id === "faulty")).toMatchObject({
        type: "error",
        payload: [{ extensions: { code: "BAD_USER_INPUT", reason, requestId: expect.any(String) } }],
      }),
    );
    await house.write(ada, `live-${reason}`, 1);
    await eventually(() => expect(probe.messages.filter(({ id }) => id === "live")).toHaveLength(2));
    expect(probe.closed).toBeUndefined();
    before += 1;
    probe.leave();
  });

  it("the end of what was never begun, a pong that nobody asked for, an id that is free again", async () => {
    const probe = await open();
    probe.send({ id: "never", type: "complete" });
    probe.send({ type: "pong", payload: { a: 1 } });
    for (let round = 1; round <= 3; round += 1) {
      probe.send(subscribe({ query: STATE }));
      await eventually(() => expect(probe.messages.filter(({ id }) => id === "1")).toHaveLength(round));
      probe.send({ id: "1", type: "complete" });
    }
    await probe.settled();
    expect(probe.closed).toBeUndefined();
    expect(probe.messages.filter(({ id }) => id !== undefined).map(({ type }) => type)).toEqual([
      "next",
      "next",
      "next",
    ]);
    probe.leave();
  });

  it("an operation that is ended before it has begun", async () => {
    const probe = await open();
    const listeners = house.pokes.listeners;
    for (let round = 0; round < 20; round += 1) {
      probe.send(subscribe({ query: STATE }, `${round}`));
      probe.send({ id: `${round}`, type: "complete" });
    }
    await probe.settled();
    await eventually(() => expect(house.pokes.listeners).toBe(listeners));
    expect(probe.closed).toBeUndefined();
    probe.leave();
  });

  it.each([
    ["a subscription that had begun", STATE, true],
    ["a subscription that had not", STATE, false],
    ["a query that was not answered yet", "{ me { id } }", false],
  ])(
    "an id that is used again at once, after %s: it is the second one's, and goes with the socket",
    async (_former, query, hasBegun) => {
      const probe = await open();
      const listeners = house.pokes.listeners;
      const told = (): unknown[] =>
        probe.messages.filter(({ id }) => id === "1").map(({ type, payload }) => [type, Object(payload)["data"]]);
      for (let round = 0; round < 5; round += 1) {
        probe.send(subscribe({ query }));
        await eventually(() => expect(told().length).toBeGreaterThanOrEqual(hasBegun ? round + 1 : 0));
        probe.send({ id: "1", type: "complete" });
      }
      probe.send(subscribe({ query: `subscription { stateChanges(since: "s0") { to } }` }));
      const rev = house.state.entries.get(ada.userId)?.length ?? 0;
      const last = ["next", { stateChanges: { to: `s${rev}` } }];
      await eventually(() => expect(told().at(-1)).toEqual(last));
      await house.write(ada, `again-${rev}`, 1);
      before += 1;
      await eventually(() =>
        expect(told().slice(-2)).toEqual([last, ["next", { stateChanges: { to: `s${rev + 1}` } }]]),
      );
      await probe.settled();
      expect(told()).toHaveLength(hasBegun ? 7 : 2);
      expect(house.pokes.listeners).toBe(listeners + 1);
      probe.leave();
      await eventually(() => expect(house.pokes.listeners).toBe(listeners));
    },
  );
});
