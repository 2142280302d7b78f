import { randomUUID } from "node:crypto";
import { startPokes, stateTopic } from "@continuo/signals";
import { createLogger } from "@continuo/process";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { MAX_REPLICAS } from "./push.ts";
import { createReplica, shown, startSystem, type System } from "../system.fixture.ts";

const DAY_MS = 24 * 3_600_000;

let system: System;
beforeAll(async () => {
  system = await startSystem();
});
afterAll(() => system[Symbol.asyncDispose]());

describe("a push", () => {
  it("is acknowledged with an outcome for each op, and read back by another device", async () => {
    const phone = createReplica(system);
    const { outcomes, lastSeq, headRev } = await phone.push({
      ops: [
        { seq: 1, value: "dark" },
        { seq: 2, key: "layout", value: { columns: [1, 2, null] } },
      ],
    });
    expect(outcomes.map(({ seq, status, rev }) => [seq, status, rev])).toEqual([
      [1, "APPLIED", 1],
      [2, "APPLIED", 2],
    ]);
    expect({ lastSeq, headRev }).toEqual({ lastSeq: 2, headRev: 2 });
    const batch = await phone.sibling().pull();
    expect(shown([batch])).toEqual({ "layout/colour": { columns: [1, 2, null] }, "theme/colour": "dark" });
  });

  it("takes effect once, however often and however parallel it is sent", async () => {
    const phone = createReplica(system);
    await phone.epoch();
    const ops = Array.from({ length: 20 }, (_, index) => ({ seq: index + 1, key: `key ${index}`, value: index }));
    const clientNow = Date.now();
    const answers = await Promise.all(Array.from({ length: 8 }, () => phone.push({ ops, clientNow })));
    const statuses = answers.flatMap(({ outcomes }) => outcomes.map(({ status }) => status));
    expect(statuses.filter((status) => status === "APPLIED")).toHaveLength(20);
    expect(statuses.filter((status) => status === "DUPLICATE")).toHaveLength(140);
    expect(answers.map(({ headRev }) => headRev)).toEqual(Array(8).fill(20));
    expect((await phone.pull()).entries).toHaveLength(20);
  });

  it("of two tabs at once leaves each its own order, and revisions without holes", async () => {
    const tab = createReplica(system);
    await tab.epoch();
    const tabs = [tab, tab.sibling({ sameDevice: true })];
    await Promise.all(
      tabs.map(async (each, index) => {
        for (let seq = 1; seq <= 15; seq += 1)
          await each.push({ ops: [{ seq, key: `tab ${index}`, field: `${seq}`, value: seq }] });
      }),
    );
    const { entries, headRev } = await tab.pull();
    expect(headRev).toBe(30);
    expect(entries.map(({ rev }) => rev)).toEqual(Array.from({ length: 30 }, (_, index) => index + 1));
    for (const index of [0, 1]) {
      const own = entries.filter(({ key }) => key === `tab ${index}`).map(({ value }) => value);
      expect(own).toEqual(Array.from({ length: 15 }, (_, seq) => seq + 1));
    }
  });

  it("stops at a gap, with what came before it committed", async () => {
    const phone = createReplica(system);
    const first = await phone.push({
      ops: [
        { seq: 1, value: 1 },
        { seq: 2, value: 2 },
        { seq: 4, value: 4 },
      ],
    });
    expect(first).toMatchObject({ stop: "GAP", lastSeq: 2, headRev: 2 });
    expect(first.outcomes.map(({ seq }) => seq)).toEqual([1, 2]);
    const second = await phone.push({
      ops: [
        { seq: 3, value: 3 },
        { seq: 4, value: 4 },
      ],
    });
    expect(second).toMatchObject({ stop: null, lastSeq: 4 });
    expect(shown([await phone.pull()])).toEqual({ "theme/colour": 4 });
  });

  it("with a poisoned op settles the rest, and gives the poison the same answer again", async () => {
    const phone = createReplica(system);
    const ops = [
      { seq: 1, key: "before", value: 1 },
      { seq: 2, namespace: "nowhere", value: 1 },
      { seq: 3, key: "nul", value: "a\u0000b" },
      { seq: 4, key: "half", value: ["\ud800"] },
      { seq: 5, key: "k".repeat(257), value: 1 },
      { seq: 6, key: "", value: 1 },
      { seq: 7, namespace: "playback", field: "unheardOf", value: 1 },
      { seq: 8, namespace: "playback", field: "furthestSeconds", value: "far" },
      { seq: 9, namespace: "playback", field: "furthestSeconds", payload: { type: "DELETE" } },
      { seq: 10, key: "large", value: "x".repeat(64 * 1024) },
      { seq: 11, key: "nothing" },
      { seq: 12, key: "version", value: 1, schemaVersion: 2 },
      { seq: 13, key: "counter", value: 1, stamp: { ms: Date.now(), counter: 65_536 } },
      { seq: 14, key: "deep", value: nested(65) },
      { seq: 15, key: "seen", value: 1, seen: { ms: Date.now(), counter: 65_536 } },
      { seq: 16, key: "after", value: 1 },
    ];
    const { outcomes, lastSeq } = await phone.push({ ops });
    expect(lastSeq).toBe(16);
    const reasons = [
      [2, "NAMESPACE_UNKNOWN"],
      [3, "VALUE_INVALID"],
      [4, "VALUE_INVALID"],
      [5, "KEY_INVALID"],
      [6, "KEY_INVALID"],
      [7, "FIELD_UNKNOWN"],
      [8, "VALUE_INVALID"],
      [9, "OP_NOT_ALLOWED"],
      [10, "VALUE_TOO_LARGE"],
      [11, "VALUE_INVALID"],
      [12, "SCHEMA_VERSION_UNKNOWN"],
      [13, "STAMP_INVALID"],
      [14, "VALUE_INVALID"],
      [15, "STAMP_INVALID"],
    ];
    const refused = outcomes.filter(({ status }) => status === "REJECTED");
    expect(refused.map(({ seq, reason }) => [seq, reason])).toEqual(reasons);
    expect(shown([await phone.pull()])).toEqual({ "after/colour": 1, "before/colour": 1 });

    const again = await phone.push({ ops });
    expect(again.outcomes.every(({ status }) => status === "DUPLICATE")).toBe(true);
    expect(again.outcomes.flatMap(({ seq, first }) => (first === null ? [] : [[seq, first.reason]]))).toEqual(reasons);
    expect(again.headRev).toBe(2);
  });

  it("stores the largest values there may be", async () => {
    const phone = createReplica(system);
    const value = { text: "é".repeat(32_000), deep: nested(60), number: -1.5e300, none: null };
    const { outcomes } = await phone.push({ ops: [{ seq: 1, key: "鍵".repeat(256), field: "場".repeat(256), value }] });
    expect(outcomes[0]).toMatchObject({ status: "APPLIED" });
    expect((await phone.pull()).entries[0]?.value).toEqual(value);
  });

  it("says how far the head is to whoever listens, after the commit", async () => {
    const phone = createReplica(system);
    const logger = createLogger({ name: "test", level: "silent" });
    await using pokes = await startPokes({ databaseUrl: system.database.url.gateway, logger });
    const heard: number[] = [];
    const onPoke = (number: number): void => void heard.push(number);
    await using _ = await pokes.subscribe(stateTopic(phone.caller.viewer.userId), { onPoke, onGap: () => undefined });
    await phone.push({
      ops: [
        { seq: 1, value: 1 },
        { seq: 2, key: "other", value: 2 },
      ],
    });
    await phone.push({ ops: [{ seq: 2, value: 2 }] });
    await phone.push({ ops: [{ seq: 3, value: 3 }] });
    await vi.waitFor(() => expect(heard.at(-1)).toBe(3), { timeout: 60_000, interval: 10 });
    expect(heard).toEqual([2, 3]);
  });
});

describe("revisions", () => {
  it("become visible in their order, even when the first transaction is slow", async () => {
    const phone = createReplica(system);
    const laptop = phone.sibling();
    await phone.push({ ops: [{ seq: 1, key: "there", value: 0 }] });
    const { userId } = phone.caller.viewer;

    // A transaction that has taken the head row and a revision, and hesitates to commit.
    const slow = await system.admin.connect();
    await slow.query("BEGIN");
    await slow.query("UPDATE user_state.user_heads SET rev = rev + 1 WHERE user_id = $1", [userId]);
    await slow.query(
      `INSERT INTO user_state.state_entries (user_id, namespace, key, field, kind, state, deleted, ms, rev, schema_version, bytes)
       VALUES ($1, 'preferences', 'slow', 'colour', 'REGISTER', '{"standing": null, "history": []}', false, 1, 2, 1, 1)`,
      [userId],
    );
    const fast = laptop.push({ ops: [{ seq: 1, key: "fast", value: 1 }] });
    await waitForLock();
    const between = await phone.pull();
    expect(between.entries.map(({ key }) => key)).toEqual(["there"]);

    await slow.query("COMMIT");
    slow.release();
    expect((await fast).headRev).toBe(3);
    const after = await phone.pull({ since: between.to });
    expect(after.entries.map(({ key, rev }) => [key, rev])).toEqual([
      ["slow", 2],
      ["fast", 3],
    ]);
  });

  /** Until a push waits for the head row. */
  async function waitForLock(): Promise<void> {
    await vi.waitFor(
      async () => {
        const { rows } = await system.admin.query(
          "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database() AND query LIKE '%user_heads%'",
        );
        expect(rows).toHaveLength(1);
      },
      { timeout: 60_000, interval: 10 },
    );
  }
});

describe("clocks", () => {
  it("two days wrong do not decide who wins: the later in true time does", async () => {
    const phone = createReplica(system);
    const laptop = phone.sibling();
    const now = Date.now();
    const ahead = now + 2 * DAY_MS;
    const behind = now - 2 * DAY_MS;
    // The phone, two days ahead, wrote an hour ago; the laptop, two days behind, a minute ago. The phone arrives last.
    await laptop.push({
      clientNow: behind,
      ops: [{ seq: 1, value: "laptop", stamp: { ms: behind - 60_000, counter: 0 } }],
    });
    const { outcomes } = await phone.push({
      clientNow: ahead,
      ops: [{ seq: 1, value: "phone", stamp: { ms: ahead - 3_600_000, counter: 0 } }],
    });
    expect(outcomes[0]).toMatchObject({ status: "MERGED", current: "laptop" });
    expect(shown([await phone.pull()])).toEqual({ "theme/colour": "laptop" });
    const [entry] = (await phone.pull()).entries;
    expect(entry?.state).toMatchObject({ history: [{ value: "phone", deleted: false }] });
  });

  it("never put a stamp into the future, whatever a client claims", async () => {
    const phone = createReplica(system);
    const laptop = phone.sibling();
    const future = Number.MAX_SAFE_INTEGER;
    const ops = [
      { seq: 1, value: "future", stamp: { ms: future, counter: 65_535 }, seen: { ms: future, counter: 65_535 } },
    ];
    const { outcomes, serverNow } = await phone.push({ clientNow: 0, ops });
    expect(outcomes[0]?.stamp?.ms).toBe(serverNow);
    const { rows } = await system.admin.query(
      `SELECT count(*)::int AS ahead FROM user_state.state_entries AS entry JOIN user_state.user_heads AS head USING (user_id)
       WHERE entry.ms > head.max_ms`,
    );
    expect(rows).toEqual([{ ahead: 0 }]);
    // The next honest write wins over the lie.
    await expect.poll(() => Date.now()).toBeGreaterThan(serverNow);
    await laptop.push({ ops: [{ seq: 1, value: "now" }] });
    expect(shown([await phone.pull()])).toEqual({ "theme/colour": "now" });
  });

  it("of the server going back does not put new writes before old ones", async () => {
    const phone = createReplica(system);
    await phone.push({ ops: [{ seq: 1, value: "old" }] });
    const { userId } = phone.caller.viewer;
    await system.admin.query("UPDATE user_state.user_heads SET max_ms = max_ms + 3600000 WHERE user_id = $1", [userId]);
    const { serverNow } = await phone.push({ ops: [{ seq: 2, value: "new" }] });
    expect(serverNow).toBeGreaterThan(Date.now() + 3_000_000);
    expect(shown([await phone.pull()])).toEqual({ "theme/colour": "new" });
  });

  it("do not matter to who has seen what they overwrite", async () => {
    const phone = createReplica(system);
    const laptop = phone.sibling();
    const { outcomes } = await phone.push({ ops: [{ seq: 1, value: "first" }] });
    const seen = { ms: outcomes[0]?.stamp?.ms ?? 0, counter: outcomes[0]?.stamp?.counter ?? 0 };
    const answer = await laptop.push({ ops: [{ seq: 1, value: "second", stamp: { ms: 0, counter: 0 }, seen }] });
    expect(answer.outcomes[0]).toMatchObject({ status: "APPLIED" });
    expect(shown([await phone.pull()])).toEqual({ "theme/colour": "second" });
  });
});

describe("a maximum", () => {
  it("only grows, and says what stands", async () => {
    const phone = createReplica(system);
    const furthest = { namespace: "playback", key: "film", field: "furthestSeconds" };
    const { outcomes } = await phone.push({
      ops: [10, 30, 20, 30].map((value, index) => ({ ...furthest, seq: index + 1, value })),
    });
    expect(outcomes.map(({ status, current }) => [status, current])).toEqual([
      ["APPLIED", null],
      ["APPLIED", null],
      ["MERGED", 30],
      ["NOOP", 30],
    ]);
    expect(shown([await phone.pull()])).toEqual({ "film/furthestSeconds": 30 });
  });
});

describe("a replica", () => {
  it("of another epoch is told to start over", async () => {
    const phone = createReplica(system);
    const { errors } = await phone.send({ epoch: randomUUID(), ops: [{ seq: 1, value: 1 }] });
    expect(errors?.[0]?.extensions).toMatchObject({ code: "CONFLICT", reason: "EPOCH_CHANGED" });
    expect((await phone.pull()).headRev).toBe(0);
  });

  it("that nobody knows must not begin in the middle", async () => {
    const phone = createReplica(system);
    const { errors } = await phone.send({ ops: [{ seq: 2, value: 1 }] });
    expect(errors?.[0]?.extensions).toMatchObject({
      code: "CONFLICT",
      reason: "CLIENT_UNKNOWN",
      details: { clientsPrunedBefore: null },
    });
  });

  it("copied to another device is refused there", async () => {
    const phone = createReplica(system);
    await phone.push({ ops: [{ seq: 1, value: 1 }] });
    const { errors } = await phone.sibling().send({ clientId: phone.clientId, ops: [{ seq: 2, value: 2 }] });
    expect(errors?.[0]?.extensions).toMatchObject({ code: "CONFLICT", reason: "CLIENT_OF_OTHER_DEVICE" });
  });

  it("is the last of a device that has as many as it may; it still reads, and the others go on", async () => {
    const phone = createReplica(system);
    const { userId, deviceId } = phone.caller.viewer;
    await phone.push({ ops: [{ seq: 1, value: 1 }] });
    await system.admin.query(
      `INSERT INTO user_state.sync_clients (user_id, client_id, device_id, seen_at)
       SELECT $1, gen_random_uuid(), $2, now() FROM generate_series(2, ${MAX_REPLICAS - 1})`,
      [userId, deviceId],
    );
    const last = phone.sibling({ sameDevice: true });
    await last.push({ ops: [{ seq: 1, value: 2 }] });
    const tooMany = phone.sibling({ sameDevice: true });
    const { errors } = await tooMany.send({ ops: [{ seq: 1, value: 3 }] });
    expect(errors?.[0]?.extensions).toMatchObject({ code: "CONFLICT", reason: "TOO_MANY_CLIENTS" });
    const { to } = await tooMany.pull();
    await tooMany.pull({ since: to, clientId: tooMany.clientId });
    const { rows } = await system.admin.query("SELECT count(*)::int FROM user_state.sync_clients WHERE user_id = $1", [
      userId,
    ]);
    expect(rows).toEqual([{ count: MAX_REPLICAS }]);

    await last.push({ ops: [{ seq: 2, value: 4 }] });
    await phone.sibling().push({ ops: [{ seq: 1, value: 5 }] });
    expect(shown([await tooMany.pull()])).toEqual({ "theme/colour": 5 });
  });

  it("with the id of another person's replica is a replica of its own", async () => {
    const ada = createReplica(system);
    const alan = createReplica(system);
    await ada.push({ ops: [{ seq: 1, value: "hers" }] });
    await alan.push({ clientId: ada.clientId, ops: [{ seq: 1, value: "his" }] });
    expect(shown([await ada.pull()])).toEqual({ "theme/colour": "hers" });
    expect(shown([await alan.pull()])).toEqual({ "theme/colour": "his" });
  });
});

it("a user's head counts live entries and their bytes", async () => {
  const phone = createReplica(system);
  await phone.push({
    ops: [
      { seq: 1, key: "a", field: "f", value: "1234" },
      { seq: 2, key: "b", field: "f", value: 1 },
      { seq: 3, key: "b", field: "f", payload: { type: "DELETE" } },
      { seq: 4, key: "a", field: "f", value: "12" },
    ],
  });
  const { rows } = await system.admin.query(
    "SELECT entries, bytes::int FROM user_state.user_heads WHERE user_id = $1",
    [phone.caller.viewer.userId],
  );
  expect(rows).toEqual([{ entries: 1, bytes: '"12"af'.length }]);
});

function nested(depth: number): unknown {
  let value: unknown = 1;
  for (let level = 0; level < depth; level += 1) value = [value];
  return value;
}
