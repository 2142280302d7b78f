/** Concurrent pushes: several users share one commit, and each push has its own outcome. */
import { randomUUID } from "node:crypto";
import { Pool } from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createNamespaces } from "../namespace/namespace.ts";
import { createNamespaceStore } from "../namespace/namespace.store.ts";
import { createReplica, shown, startSystem, type Replica, type System } from "../system.fixture.ts";
import { createEntries, type PushReceipt } from "./entry.ts";
import { createEntryStore } from "./entry.store.ts";
import { DEFAULT_QUOTA } from "./quota.ts";

/** A namespace that becomes unstored during the test, after its definition was read: Postgres refuses writes to it. */
const SEALED = "sealed";

let system: System;
let pool: Pool;
beforeAll(async () => {
  system = await startSystem();
  await system.admin.query(
    `INSERT INTO user_state.namespaces (name, version, kinds, schema, persistence, created_at)
     VALUES ('${SEALED}', 1, '{"*": "REGISTER"}', '{}', 'DURABLE', now())`,
  );
  pool = new Pool({ connectionString: system.database.url.userState, max: 4 });
  pool.on("error", () => undefined);
});
afterAll(async () => {
  await pool.end();
  await system[Symbol.asyncDispose]();
});

/** Pushes in one turn of the event loop. */
function openEntries(): (
  replica: Replica,
  op: { seq: number; namespace?: string; key?: string },
) => Promise<PushReceipt> {
  const entries = createEntries({
    store: createEntryStore(pool),
    namespaces: createNamespaces({ store: createNamespaceStore(pool), now: () => 0 }),
    quota: DEFAULT_QUOTA,
    newEpoch: randomUUID,
    changed: () => undefined,
  });
  return async ({ clientId, caller, ...replica }, { seq, namespace = "notes", key = "k" }) => {
    const epoch = await replica.epoch();
    const op = { namespace, key, field: "f", payload: { type: "SET", value: seq }, baseRev: 0, schemaVersion: 1 };
    const stamp = { ms: Date.now(), counter: seq };
    const ops = [{ ...op, seq, stamp, seen: null }];
    return entries.push(caller.viewer, { clientId, epoch, clientNow: Date.now(), baseRev: 0, ops });
  };
}

async function peopleWithHeads(count: number): Promise<Replica[]> {
  const people = Array.from({ length: count }, () => createReplica(system));
  await Promise.all(people.map((replica) => replica.epoch()));
  return people;
}

/** The transactions that changed the heads of these people last. */
async function commitsOf(people: readonly Replica[]): Promise<string[]> {
  const { rows } = await system.admin.query<{ xmin: string }>(
    "SELECT xmin::text FROM user_state.user_heads WHERE user_id = ANY ($1)",
    [people.map(({ caller }) => caller.viewer.userId)],
  );
  return [...new Set(rows.map(({ xmin }) => xmin))];
}

const statuses = (receipts: readonly PushReceipt[]): string[] =>
  receipts.flatMap(({ outcomes }) => outcomes.map(({ status }) => status));

describe("pushes that come at once", () => {
  it("of several people are one commit, whatever each of them meets", async () => {
    const push = openEntries();
    const people = await peopleWithHeads(6);
    const others = createReplica(system);
    await Promise.all([push(others, { seq: 1, namespace: SEALED }), ...people.map((each) => push(each, { seq: 1 }))]);
    const [gap, repeated, ...news] = people;
    if (gap === undefined || repeated === undefined) throw new Error("there are six");
    const receipts = await Promise.all([
      ...news.map((each) => push(each, { seq: 2 })),
      push(repeated, { seq: 1 }),
      push(gap, { seq: 3 }),
    ]);
    expect(statuses(receipts)).toEqual([...news.map(() => "APPLIED"), "DUPLICATE"]);
    expect(receipts.at(-1)).toMatchObject({ stop: "GAP", lastSeq: 1, outcomes: [] });
    expect(await commitsOf(news)).toHaveLength(1);
    for (const each of news) expect(shown([await each.pull()])).toEqual({ "k/f": 2 });
  });

  it("of one person are settled one after the other, none lost and none twice", async () => {
    const push = openEntries();
    const [phone, ...others] = await peopleWithHeads(3);
    if (phone === undefined) throw new Error("there are three");
    const tabs = [phone, phone.sibling({ sameDevice: true }), phone.sibling()];
    await Promise.all(tabs.map((tab) => tab.epoch()));
    const receipts = await Promise.all([...tabs, ...others].map((each) => push(each, { seq: 1 })));
    expect(statuses(receipts)).toEqual(receipts.map(() => "APPLIED"));
    const heads = receipts.slice(0, tabs.length).map(({ headRev }) => headRev);
    expect(new Set(heads)).toEqual(new Set([1, 2, 3]));
    expect((await phone.pull()).headRev).toBe(3);
  });

  it("fail alone where Postgres refuses one of them", async () => {
    const push = openEntries();
    const [unlucky, ...others] = await peopleWithHeads(4);
    if (unlucky === undefined) throw new Error("there are four");
    await push(unlucky, { seq: 1, namespace: SEALED });
    await system.admin.query(`UPDATE user_state.namespaces SET persistence = 'RELAY' WHERE name = '${SEALED}'`);
    const refused = push(unlucky, { seq: 2, namespace: SEALED, key: "new" });
    const receipts = Promise.all(others.map((each) => push(each, { seq: 1 })));
    await expect(refused).rejects.toThrow("is not stored");
    expect(statuses(await receipts)).toEqual(others.map(() => "APPLIED"));
    expect((await unlucky.pull()).headRev).toBe(1);
    for (const each of others) expect(shown([await each.pull()])).toEqual({ "k/f": 1 });
  });
});
