import { describe, expect, it } from "vitest";
import * as z from "zod/mini";
import { KIND_NAMES } from "./kind.ts";
import * as protocol from "./protocol.ts";
import { parsePayload, PAYLOADS, PROTOCOL_VERSION, PushRequest, STATES, StateBatch } from "./protocol.ts";

const ID = "0199a1c2-0000-4000-8000-000000000001";
const INSTANT = { ms: 1, counter: 0 };

/**
 * Each message, payload and state, as JSON Schema. When this fails you have changed what old clients and servers say to
 * each other. An addition that both may lack is recorded with `vitest -u`; anything else is a new PROTOCOL_VERSION.
 */
it("the shape of the protocol is the one of its version", async () => {
  const { PushResponse, PullRequest, SubscribeRequest, REQUEST_REJECT_REASONS } = protocol;
  const messages = { PushRequest, PushResponse, PullRequest, SubscribeRequest, StateBatch };
  const lines = Object.entries({ messages, payloads: PAYLOADS, states: STATES }).flatMap(([group, schemas]) =>
    Object.entries(schemas).map(([name, schema]) => {
      const { $schema: _, ...shape } = z.toJSONSchema(schema, { unrepresentable: "any" });
      return `${group}.${name} ${JSON.stringify(shape)}`;
    }),
  );
  const reasons = `requestRejectReasons ${REQUEST_REJECT_REASONS.join(" ")}`;
  await expect(`${[...lines, reasons].join("\n")}\n`).toMatchFileSnapshot(`protocol.v${PROTOCOL_VERSION}.snap`);
});

describe("a payload", () => {
  it("of every kind is an object of a type, and nothing else passes", () => {
    for (const kind of KIND_NAMES)
      for (const payload of [undefined, null, 1, "SET", [], {}, { type: "UNHEARD_OF" }])
        expect(parsePayload(kind, payload)).toMatchObject({ success: false });
  });

  it("loses what nobody asked for", () => {
    expect(parsePayload("COUNTER", { type: "ADD", delta: 1, extra: true })).toEqual({
      success: true,
      payload: { type: "ADD", delta: 1 },
    });
  });

  it.each([
    ["text with NUL", "a\u0000b"],
    ["half a character", ["\ud800"]],
    ["a name with half a character", { "\ud800": 1 }],
    ["infinity", Number.POSITIVE_INFINITY],
    ["nothing", undefined],
    ["too much", "é".repeat(32 * 1024)],
    ["too deep a value", nested(65)],
  ])("does not hold %s", (_, value) => {
    expect(parsePayload("REGISTER", { type: "SET", value })).toMatchObject({ success: false });
  });

  it.each([
    ["text", "é".repeat(32_000)],
    ["any JSON", { none: null, list: [1, -1.5e300, "😀"], __proto__: null }],
    ["depth", nested(64)],
  ])("holds %s", (_, value) => {
    expect(parsePayload("REGISTER", { type: "SET", value })).toEqual({
      success: true,
      payload: { type: "SET", value },
    });
  });

  it.each([
    ["MAX", { type: "SET", value: "9" }],
    ["MAX", { type: "SET", value: Number.NaN }],
    ["MAX", { type: "DELETE" }],
    ["COUNTER", { type: "ADD", delta: 0.5 }],
    ["COUNTER", { type: "ADD", delta: 1e10 }],
    ["SET", { type: "ADD", element: "" }],
    ["SET", { type: "ADD", element: "x".repeat(257) }],
    ["LIST", { type: "MOVE", id: "a", position: "a00" }],
    ["PROGRESS", { type: "REPORT", epoch: 0, position: -1, duration: null, unit: "SECONDS", intent: "PLAY" }],
    ["PROGRESS", { type: "RESTART", epoch: 1e12 }],
    ["DRAFT", { type: "DISMISS_COPY", copy: { ms: 1, counter: 65_536, clientId: ID } }],
    ["TEXT", { type: "UPDATE", generation: 0, update: "not base64!" }],
    ["OPAQUE", { type: "SET", value: "plain" }],
  ] as const)("of %s is not %j", (kind, payload) => {
    expect(parsePayload(kind, payload)).toMatchObject({ success: false });
  });
});

it("a fault in a payload is told with its path", () => {
  const tooLong = parsePayload("SET", { type: "ADD", element: "x".repeat(257) });
  expect(tooLong).toMatchObject({ path: ["element"], message: expect.stringContaining("at element") });
  expect(parsePayload("MAX", { type: "DELETE" })).toMatchObject({ path: ["type"] });
  expect(parsePayload("SET", { type: "UNHEARD_OF" })).toMatchObject({ path: ["type"] });
  expect(parsePayload("SET", "poison")).toMatchObject({ path: [] });
});

describe("a push", () => {
  const op = {
    seq: 1,
    namespace: "preferences",
    key: "theme",
    field: "colour",
    payload: { type: "SET", value: "dark" },
    stamp: INSTANT,
    seen: null,
    baseRev: 0,
    schemaVersion: 1,
  };
  const push = { protocol: PROTOCOL_VERSION, clientId: ID, epoch: ID, clientNow: 1, baseRev: 0, ops: [op] };

  it("with a poisoned payload is a push all the same: the op is refused by itself", () => {
    expect(PushRequest.safeParse(push).success).toBe(true);
    for (const poison of [{ payload: "poison" }, { stamp: { ms: 1, counter: 65_536 } }, { key: "k".repeat(9_999) }])
      expect(PushRequest.safeParse({ ...push, ops: [{ ...op, ...poison }, op] }).success).toBe(true);
    expect(parsePayload("REGISTER", "poison").success).toBe(false);
  });

  it.each([
    ["of another protocol", { protocol: PROTOCOL_VERSION + 1 }],
    ["without ops", { ops: [] }],
    ["with too many ops", { ops: Array.from({ length: 101 }, () => op) }],
    ["with a seq before the first", { ops: [{ ...op, seq: 0 }] }],
    ["with an instant that is none", { ops: [{ ...op, stamp: { ms: 1.5, counter: 0 } }] }],
  ])("%s is none", (_, change) => {
    expect(PushRequest.safeParse({ ...push, ...change }).success).toBe(false);
  });
});

function nested(depth: number): unknown {
  return depth === 0 ? 1 : [nested(depth - 1)];
}
