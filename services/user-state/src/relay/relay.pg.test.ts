import { randomUUID } from "node:crypto";
import { openRelays, relayTopic, type Relays } from "@continuo/signals";
import { createLogger } from "@continuo/process";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { MAX_RELAYED_BYTES } from "../entry/op.ts";
import {
  createReplica,
  startSystem,
  type GraphAnswer,
  type OpText,
  type Replica,
  type System,
} from "../system.fixture.ts";
import { MAX_A_SECOND } from "./relay.ts";

let system: System;
let relays: Relays;
beforeAll(async () => {
  system = await startSystem();
  for (const persistence of ["RELAY", "NONE"])
    await system.admin.query(
      `INSERT INTO user_state.namespaces (name, version, kinds, schema, persistence, created_at)
       VALUES ($1, 1, '{"position": "REGISTER", "shape": "REGISTER"}',
               '{"position": {"type": "number"}, "shape": {"type": "object", "additionalProperties": false}}', $2, now())`,
      [persistence.toLowerCase(), persistence],
    );
  await system.admin.query(
    `INSERT INTO user_state.namespaces (name, version, kinds, schema, persistence, created_at)
     VALUES ('blobs', 1, '{"position": "REGISTER"}', '{}', 'RELAY', now())`,
  );
  const logger = createLogger({ name: "relay-test", level: "silent" });
  relays = await openRelays({ databaseUrl: system.database.url.gateway, logger });
});
afterAll(async () => {
  await relays[Symbol.asyncDispose]();
  await system[Symbol.asyncDispose]();
});

const to = (namespace: string, seq: number, value: unknown, more: Partial<OpText> = {}): OpText => ({
  seq,
  namespace,
  key: "pointer",
  field: "position",
  value,
  ...more,
});

async function listen({ caller }: Replica): Promise<string[]> {
  const heard: string[] = [];
  await relays.subscribe(relayTopic(caller.viewer.userId), (text) => heard.push(text));
  return heard;
}

interface Change {
  readonly namespace: string;
  readonly payload: unknown;
  readonly stamp: object;
}
const OPEN = `query ($sealed: [String!]!, $namespaces: [String!]) { relayedChanges(sealed: $sealed, namespaces: $namespaces) {
  namespace key field kind payload schemaVersion stamp { ms counter clientId } device { id } } }`;
const open = (
  { caller }: Pick<Replica, "caller">,
  sealed: readonly string[],
  namespaces?: string[],
): Promise<GraphAnswer<{ relayedChanges: Change[] }>> => system.ask(caller, OPEN, { sealed, namespaces });

const rowsOf = async ({ caller }: Replica): Promise<unknown[]> =>
  (await system.admin.query("SELECT FROM user_state.state_entries WHERE user_id = $1", [caller.viewer.userId])).rows;

describe("a change of a RELAY namespace", () => {
  it("is settled with its effective stamp, heard once by the devices that are there, and kept nowhere", async () => {
    const phone = createReplica(system);
    const heard = await listen(phone);
    const clientNow = Date.now() + 3_600_000;
    const push = { clientNow, ops: [to("relay", 1, 17), to("relay", 2, 18)] };
    const { outcomes, lastSeq, headRev, serverNow } = await phone.push(push);
    expect({ lastSeq, headRev }).toEqual({ lastSeq: 2, headRev: 0 });
    expect(outcomes).toMatchObject([
      { status: "APPLIED", rev: null, current: null },
      { status: "APPLIED", rev: null, current: null },
    ]);
    // A clock that is wrong is repaired here too.
    expect(outcomes[0]?.stamp?.ms).toBeLessThanOrEqual(serverNow);
    expect((await phone.push(push)).outcomes.map(({ status }) => status)).toEqual(["DUPLICATE", "DUPLICATE"]);

    await phone.push({ ops: [to("relay", 3, 19)] });
    await vi.waitFor(() => expect(heard).toHaveLength(3), { timeout: 60_000 });
    const { data } = await open(phone.sibling(), heard);
    expect(data?.relayedChanges.map(({ payload }) => payload)).toEqual(
      [17, 18, 19].map((value) => ({ type: "SET", value })),
    );
    expect(data?.relayedChanges[0]).toEqual({
      namespace: "relay",
      key: "pointer",
      field: "position",
      kind: "REGISTER",
      payload: { type: "SET", value: 17 },
      schemaVersion: 1,
      stamp: outcomes[0]?.stamp,
      device: { id: phone.caller.viewer.deviceId },
    });
    expect(await rowsOf(phone)).toEqual([]);
    expect((await phone.pull()).entries).toEqual([]);
  });

  it("beside one that is kept leaves that to be kept, and the push in its order", async () => {
    const phone = createReplica(system);
    const heard = await listen(phone);
    const { outcomes } = await phone.push({
      ops: [{ seq: 1, value: "dark" }, to("relay", 2, 1), { seq: 3, value: "light" }],
    });
    expect(outcomes.map(({ rev }) => rev)).toEqual([1, null, 2]);
    await vi.waitFor(() => expect(heard).toHaveLength(1), { timeout: 60_000 });
  });

  it("is opened for its person alone, and by nobody who is not signed in", async () => {
    const phone = createReplica(system);
    const heard = await listen(phone);
    await phone.push({ ops: [to("relay", 1, 17)] });
    await vi.waitFor(() => expect(heard).toHaveLength(1), { timeout: 60_000 });
    expect((await open(createReplica(system), heard)).data?.relayedChanges).toEqual([]);
    const anonymous = await system.ask(undefined, OPEN, { sealed: heard });
    expect(anonymous.errors?.[0]?.extensions.code).toBe("UNAUTHENTICATED");
    expect((await open(phone, [randomUUID(), ...heard])).data?.relayedChanges).toHaveLength(1);
  });

  it("is left out where other namespaces are asked for", async () => {
    const phone = createReplica(system);
    const heard = await listen(phone);
    await phone.push({ ops: [to("relay", 1, 17)] });
    await vi.waitFor(() => expect(heard).toHaveLength(1), { timeout: 60_000 });
    expect((await open(phone, heard, ["relay"])).data?.relayedChanges).toHaveLength(1);
    expect((await open(phone, heard, ["preferences"])).data?.relayedChanges).toEqual([]);
    const unknown = await open(phone, heard, ["unheard"]);
    expect(unknown.errors?.[0]?.extensions.reason).toBe("NAMESPACE_UNKNOWN");
    expect((await open(phone, Array(51).fill(heard[0]))).errors?.[0]?.extensions.reason).toBe("INPUT_INVALID");
  });

  it("that cannot be is refused without a word of what it was", async () => {
    const phone = createReplica(system);
    const heard = await listen(phone);
    const { outcomes } = await phone.push({
      ops: [
        to("relay", 1, "canary"),
        to("relay", 2, 1, { field: "canary" }),
        to("relay", 3, 1, { payload: { type: "canary" } }),
        to("relay", 4, 1, { key: "x".repeat(MAX_RELAYED_BYTES) }),
        to("relay", 5, 1, { schemaVersion: 2 }),
        // Elsewhere such a member is named.
        to("relay", 6, { canary: 1 }, { field: "shape" }),
      ],
    });
    expect(outcomes.map(({ status, reason }) => [status, reason])).toEqual([
      ["REJECTED", "VALUE_INVALID"],
      ["REJECTED", "FIELD_UNKNOWN"],
      ["REJECTED", "OP_NOT_ALLOWED"],
      ["REJECTED", "KEY_INVALID"],
      ["REJECTED", "SCHEMA_VERSION_UNKNOWN"],
      ["REJECTED", "VALUE_INVALID"],
    ]);
    expect(JSON.stringify(outcomes)).not.toContain("canary");
    await phone.push({ ops: [to("relay", 7, 7)] });
    await vi.waitFor(() => expect(heard).toHaveLength(1), { timeout: 60_000 });
  });

  it("that comes after too many in a second is refused, and nobody else's is", async () => {
    const phone = createReplica(system);
    const ops = Array.from({ length: 100 }, (_, index) => to("relay", index + 1, index));
    const statuses: string[] = [];
    // A second may end in between.
    for (let round = 0; round < 2 * (MAX_A_SECOND / 100) + 1; round += 1) {
      const { outcomes } = await phone.push({ ops: ops.map((op) => ({ ...op, seq: op.seq + round * 100 })) });
      statuses.push(...outcomes.map(({ status, reason }) => reason ?? status));
    }
    expect(new Set(statuses)).toEqual(new Set(["APPLIED", "OVER_QUOTA"]));
    const other = createReplica(system);
    expect((await other.push({ ops: [to("relay", 1, 1)] })).outcomes[0]?.status).toBe("APPLIED");
  });
});

it("a change of a RELAY namespace that is too large for every bus is refused", async () => {
  const phone = createReplica(system);
  const heard = await listen(phone);
  const { outcomes } = await phone.push({
    ops: [to("blobs", 1, "\u0001".repeat(MAX_RELAYED_BYTES / 6)), to("blobs", 2, "x".repeat(MAX_RELAYED_BYTES - 100))],
  });
  expect(outcomes).toMatchObject([{ reason: "VALUE_TOO_LARGE" }, { status: "APPLIED" }]);
  await vi.waitFor(() => expect(heard).toHaveLength(1), { timeout: 60_000 });
});

describe("a change of a NONE namespace", () => {
  it("is refused for good, with nothing of it kept or said", async () => {
    const phone = createReplica(system);
    const heard = await listen(phone);
    const { outcomes, lastSeq } = await phone.push({ ops: [to("none", 1, "canary"), to("relay", 2, 1)] });
    expect(lastSeq).toBe(2);
    expect(outcomes).toMatchObject([
      { status: "REJECTED", reason: "NAMESPACE_NOT_STORED", message: "none is NONE: it stays on the device." },
      { status: "APPLIED" },
    ]);
    await vi.waitFor(() => expect(heard).toHaveLength(1), { timeout: 60_000 });
    expect(await rowsOf(phone)).toEqual([]);
  });

  it("is known to clients before they make it", async () => {
    const { data } = await system.ask<{ stateNamespaces: { name: string; persistence: string }[] }>(
      createReplica(system).caller,
      "{ stateNamespaces { name persistence ttlSeconds } }",
    );
    expect(data?.stateNamespaces).toEqual(
      expect.arrayContaining([
        { name: "none", persistence: "NONE", ttlSeconds: null },
        { name: "relay", persistence: "RELAY", ttlSeconds: null },
      ]),
    );
  });
});

it.each(["relay", "none"])("the database refuses a row of %s, whoever writes it, and says no value", async (name) => {
  const phone = createReplica(system);
  await phone.push({ ops: [{ seq: 1, value: "dark" }] });
  const { userId } = phone.caller.viewer;
  const COLUMNS = "kind, state, deleted, ms, rev, schema_version, bytes";
  for (const write of [
    `INSERT INTO user_state.state_entries (user_id, namespace, key, field, ${COLUMNS})
     SELECT user_id, $2, 'canary', field, ${COLUMNS} FROM user_state.state_entries WHERE user_id = $1`,
    "UPDATE user_state.state_entries SET namespace = $2, key = 'canary' WHERE user_id = $1",
  ]) {
    const refusal: unknown = await system.admin.query(write, [userId, name]).catch((cause: unknown) => cause);
    expect(refusal).toMatchObject({ code: "23514", constraint: "state_entries_stored_check" });
    expect(JSON.stringify(refusal)).not.toContain("canary");
  }
});
