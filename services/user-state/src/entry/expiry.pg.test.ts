import { KIND_NAMES, KINDS, positionAt } from "@continuo/merge";
import { StateBatch } from "@continuo/merge/protocol";
import { text } from "@continuo/merge/text";
import { createReplica as createCopy, receive, show } from "@continuo/replica";
import { Pool } from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createRetention } from "../retention/retention.ts";
import { createRetentionStore } from "../retention/retention.store.ts";
import { createReplica, shown, startSystem, type OpText, type Replica, type System } from "../system.fixture.ts";

const TTL_MS = 3_600_000;
const POSITION = positionAt([], 0);
const HOUR_MS = 3_600_000;
/** Yjs's encoding of a text `a`. */
const UPDATE = "AAABAQAAAQQIBXRleHRhBAEBAQAAAQEAAA==";

let system: System;
let pool: Pool;
beforeAll(async () => {
  system = await startSystem();
  const kinds = Object.fromEntries(KIND_NAMES.map((kind) => [kind.toLowerCase(), kind]));
  await system.admin.query(
    `INSERT INTO user_state.namespaces (name, version, kinds, schema, persistence, ttl_seconds, created_at)
     VALUES ('brief', 1, $1, '{}', 'TTL', $2, now())`,
    [kinds, TTL_MS / 1000],
  );
  pool = new Pool({ connectionString: system.database.url.userState, max: 3 });
  pool.on("error", () => undefined);
});
afterAll(async () => {
  await pool.end();
  await system[Symbol.asyncDispose]();
});

const on = (seq: number, field: string, payload: object, more: Partial<OpText> = {}): OpText => ({
  seq,
  namespace: "brief",
  key: "k",
  field,
  payload,
  ...more,
});
const set = (seq: number, value: unknown, more: Partial<OpText> = {}): OpText =>
  on(seq, "register", { type: "SET", value }, more);

/** Lets time pass for what a user keeps. */
async function pass({ caller }: Replica, ms: number): Promise<void> {
  await system.admin.query(
    `WITH head AS (UPDATE user_state.user_heads SET rev = rev WHERE user_id = $1)
     UPDATE user_state.state_entries SET expires_at = expires_at - make_interval(secs => $2::float8 / 1000)
     WHERE user_id = $1`,
    [caller.viewer.userId, ms],
  );
}

interface Row {
  readonly state: unknown;
  readonly deleted: boolean;
  readonly rev: number;
  readonly expires_at: Date | null;
}

async function rows({ caller }: Replica): Promise<Row[]> {
  const { rows } = await system.admin.query<Row>(
    `SELECT state, deleted, rev::int, expires_at FROM user_state.state_entries WHERE user_id = $1 ORDER BY rev`,
    [caller.viewer.userId],
  );
  return rows;
}

async function usage({ caller }: Replica): Promise<object> {
  const { rows } = await system.admin.query(
    "SELECT entries, bytes::int, usage FROM user_state.user_heads WHERE user_id = $1",
    [caller.viewer.userId],
  );
  return rows[0];
}

async function storedIn({ caller }: Replica, namespace: string): Promise<number> {
  const { rows } = await system.admin.query<{ stored: number }>(
    "SELECT sum(bytes)::int AS stored FROM user_state.state_entries WHERE user_id = $1 AND namespace = $2",
    [caller.viewer.userId, namespace],
  );
  return rows[0]?.stored ?? 0;
}

const retain = () => createRetention(createRetentionStore(pool))(new AbortController().signal);

const HISTORY = `{ stateHistory(namespace: "brief", key: "k", field: "register") { value } }`;
const history = async ({ caller }: Replica): Promise<unknown> =>
  (await system.ask<{ stateHistory: unknown }>(caller, HISTORY)).data?.stateHistory;

describe("an entry of a TTL namespace", () => {
  it("says when its time is up: so long after its last change, whoever made it and when", async () => {
    const phone = createReplica(system);
    const clientNow = Date.now();
    await phone.push({ clientNow, ops: [set(1, "old", { stamp: { ms: clientNow - 24 * HOUR_MS, counter: 0 } })] });
    const first = await phone.pull();
    expect(first.entries[0]?.expiresAt).toBeGreaterThan(first.serverNow + TTL_MS - 30_000);
    expect(first.entries[0]?.expiresAt).toBeLessThanOrEqual(first.serverNow + TTL_MS);

    await pass(phone, TTL_MS / 2);
    const laptop = phone.sibling();
    await laptop.push({ ops: [on(1, "counter", { type: "ADD", delta: 1 }), set(2, "new")] });
    const { entries, serverNow } = await phone.pull();
    for (const { expiresAt } of entries) expect(expiresAt).toBeGreaterThan(serverNow + TTL_MS - 30_000);

    await phone.push({ ops: [{ seq: 2, value: "kept" }] });
    expect((await phone.pull()).entries.at(-1)).toMatchObject({ namespace: "preferences", expiresAt: null });
  });

  it("is read as deleted from then on, although nothing has run", async () => {
    const phone = createReplica(system);
    await phone.push({ ops: [set(1, "first")] });
    await phone.sibling().push({ ops: [set(1, "second"), { seq: 2, value: "kept" }] });
    const { to } = await phone.pull();
    expect(await history(phone)).toEqual([{ value: "first" }]);
    await pass(phone, TTL_MS);

    expect(shown([await phone.sibling().pull()])).toEqual({ "theme/colour": "kept" });
    expect(await history(phone)).toEqual([]);
    // Sent to replicas that may hold an older state, without a trace of the content.
    await phone.push({ ops: [set(2, "third")] });
    await pass(phone, TTL_MS);
    const { entries } = await phone.pull({ since: to });
    expect(entries).toMatchObject([{ field: "register", value: null, deleted: true, expiresAt: null }]);
    expect(JSON.stringify(entries)).not.toMatch(/first|second|third/);
  });

  it("is met by nobody: a change begins anew, an older one is too late", async () => {
    const phone = createReplica(system);
    const clientNow = Date.now();
    await phone.push({ clientNow, ops: [set(1, "expired"), on(2, "counter", { type: "ADD", delta: 5 })] });
    await pass(phone, TTL_MS);

    const late = { stamp: { ms: clientNow - 60_000, counter: 0 } };
    const { outcomes } = await phone.sibling().push({
      clientNow,
      ops: [set(1, "older", late), on(2, "counter", { type: "ADD", delta: 2 })],
    });
    expect(outcomes).toMatchObject([{ status: "MERGED", current: null }, { status: "APPLIED" }]);
    expect(shown([await phone.pull()])).toEqual({ "k/counter": 2 });
    const { outcomes: again } = await phone.push({ ops: [set(3, "newer")] });
    expect(again).toMatchObject([{ status: "APPLIED" }]);
    expect(shown([await phone.pull()])).toEqual({ "k/counter": 2, "k/register": "newer" });
  });

  it("does not come back by the late autosave of a draft, or of a text", async () => {
    const phone = createReplica(system);
    const edit = (seq: number, value: string, generation = 0): OpText =>
      on(seq, "draft", { type: "EDIT", generation, name: "body", value });
    await phone.push({ ops: [edit(1, "Dear Ada"), on(2, "text", { type: "UPDATE", generation: 0, update: UPDATE })] });
    await pass(phone, TTL_MS);
    const { outcomes } = await phone.push({
      ops: [edit(3, "Dear Ada, it"), on(4, "text", { type: "UPDATE", generation: 0, update: UPDATE })],
    });
    expect(outcomes.map(({ status }) => status)).toEqual(["SUPERSEDED", "SUPERSEDED"]);
    const { entries } = await phone.sibling().pull();
    expect(entries.map(({ field, deleted, state }) => [field, deleted, state])).toEqual([
      ["draft", true, { generation: 1, fields: [], ended: null, copies: [] }],
      ["text", true, { generation: 1, document: null, updates: [] }],
    ]);
    expect((await phone.push({ ops: [edit(5, "Dear Alan", 1)] })).outcomes[0]?.status).toBe("APPLIED");
  });

  it("leaves the quota by the next push, before that is validated", async () => {
    const phone = createReplica(system);
    await phone.push({ ops: [{ seq: 1, value: "kept" }] });
    const before = await usage(phone);
    await phone.push({
      ops: [
        set(2, "x".repeat(1_000)),
        on(3, "counter", { type: "ADD", delta: 1 }),
        on(4, "list", { type: "INSERT", id: "a", value: "v", position: POSITION }),
        on(5, "text", { type: "UPDATE", generation: 0, update: UPDATE }),
        on(6, "draft", { type: "EDIT", generation: 0, name: "body", value: "v" }),
      ],
    });
    await pass(phone, TTL_MS);
    await phone.push({ ops: [{ seq: 7, value: "kept" }] });
    expect(await usage(phone)).toEqual({
      ...before,
      usage: {
        preferences: { entries: 1, bytes: expect.any(Number), stored: expect.any(Number) },
        brief: { entries: 0, bytes: 0, stored: await storedIn(phone, "brief") },
      },
    });
    // What counted once counts once again.
    await phone.push({ ops: [on(8, "counter", { type: "ADD", delta: 1 })] });
    expect(await usage(phone)).toMatchObject({
      entries: 2,
      usage: { brief: { entries: 1, stored: await storedIn(phone, "brief") } },
    });
  });
});

describe("retention", () => {
  it("makes tombstones of what has expired, under new revisions, with nothing left of it", async () => {
    const phone = createReplica(system);
    await phone.push({ ops: [set(1, "canary"), on(2, "text", { type: "UPDATE", generation: 0, update: UPDATE })] });
    await phone.push({
      ops: [on(3, "map", { type: "SET", name: "canary", value: "canary" }), { seq: 4, value: "kept" }],
    });
    const held = await phone.pull();
    await pass(phone, TTL_MS);

    expect((await retain()).expired).toBeGreaterThanOrEqual(3);
    expect((await retain()).expired).toBe(0);
    const after = await rows(phone);
    expect(after.map(({ deleted, rev, expires_at }) => [deleted, rev, expires_at])).toEqual([
      [false, 4, null],
      [true, 5, null],
      [true, 6, null],
      [true, 7, null],
    ]);
    expect(JSON.stringify(after)).not.toContain("canary");
    const { rows: updates } = await system.admin.query("SELECT FROM user_state.text_updates WHERE user_id = $1", [
      phone.caller.viewer.userId,
    ]);
    expect(updates).toEqual([]);
    expect(await usage(phone)).toMatchObject({ entries: 1, usage: { brief: { entries: 0, bytes: 0 } } });

    const { entries } = await phone.pull({ since: held.to });
    expect(entries.map(({ deleted }) => deleted)).toEqual([true, true, true]);
    expect(shown([await phone.sibling().pull()])).toEqual({ "theme/colour": "kept" });
  });

  it("goes on where a batch was full", async () => {
    const phone = createReplica(system);
    const { userId } = phone.caller.viewer;
    await phone.push({ ops: Array.from({ length: 5 }, (_, index) => set(index + 1, index, { key: `k${index}` })) });
    await pass(phone, TTL_MS);
    const store = createRetentionStore(pool);
    const counts = [await store.buryExpired(userId, 2), await store.buryExpired(userId, 2)];
    expect([...counts, await store.buryExpired(userId, 2), await store.buryExpired(userId, 2)]).toEqual([2, 2, 1, 0]);
    expect((await rows(phone)).map(({ rev }) => rev)).toEqual([6, 7, 8, 9, 10]);
  });

  it("and pushes at the same time leave every unit one state, and the head what it counts", async () => {
    const phone = createReplica(system);
    const laptop = phone.sibling();
    await phone.push({ ops: Array.from({ length: 20 }, (_, index) => set(index + 1, index, { key: `k${index}` })) });
    await pass(phone, TTL_MS);
    await Promise.all([
      retain(),
      (async () => {
        for (let seq = 1; seq <= 10; seq += 1) await laptop.push({ ops: [set(seq, "new", { key: `k${seq}` })] });
      })(),
      retain(),
    ]);
    const batch = await phone.pull();
    expect(Object.keys(shown([batch]))).toHaveLength(10);
    expect(await usage(phone)).toMatchObject({ entries: 10, usage: { brief: { entries: 10 } } });
    const revs = (await rows(phone)).map(({ rev }) => rev);
    expect(new Set(revs).size).toBe(20);
    expect(batch.headRev).toBe(Math.max(...revs));
  });
});

it("a replica, the server before retention and the server after it show the same", async () => {
  const phone = createReplica(system);
  const kinds = { ...KINDS, TEXT: text };
  const ops: OpText[] = [
    set(1, "v"),
    on(2, "max", { type: "SET", value: 5 }),
    on(3, "counter", { type: "ADD", delta: 5 }),
    on(4, "set", { type: "ADD", element: "a" }),
    on(5, "map", { type: "SET", name: "m", value: 1 }),
    on(6, "list", { type: "INSERT", id: "a", value: 1, position: POSITION }),
    on(7, "progress", { type: "REPORT", epoch: 0, position: 9, duration: 60, unit: "SECONDS", intent: "PAUSE" }),
    on(8, "draft", { type: "EDIT", generation: 0, name: "body", value: "v" }),
    on(9, "text", { type: "UPDATE", generation: 0, update: UPDATE }),
  ];
  const { outcomes } = await phone.push({ ops });
  expect(outcomes.map(({ status }) => status)).toEqual(Array(9).fill("APPLIED"));

  const { clientId } = phone;
  const take = async (): Promise<ReturnType<typeof createCopy>> => {
    const batch = StateBatch.parse(await phone.pull());
    const fresh = createCopy({ clientId, deviceId: phone.caller.viewer.deviceId });
    return receive(fresh, { since: null, clientId }, batch, batch.serverNow);
  };
  const states = (copy: ReturnType<typeof createCopy>, now: number): unknown[] =>
    ops.map(({ field = "" }) => {
      const kind = KIND_NAMES.find((name) => name.toLowerCase() === field) ?? "REGISTER";
      const { value, state } = show(copy, { namespace: "brief", key: "k", field }, kind, kinds, now);
      // A new replica receives no tombstones except those that count generations.
      return ["draft", "text", "progress"].includes(field) ? [field, value, state] : [field, value];
    });
  const held = await take();
  await pass(phone, TTL_MS);
  const expected = states(held, Date.now() + TTL_MS + 1_000);
  expect(states(held, Date.now())).not.toEqual(expected);
  expect(states(await take(), Date.now())).toEqual(expected);
  await retain();
  expect(states(await take(), Date.now())).toEqual(expected);
});
