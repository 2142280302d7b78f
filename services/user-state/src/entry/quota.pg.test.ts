import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createReplica, startSystem, type OpText, type Replica, type System } from "../system.fixture.ts";
import { DEFAULT_QUOTA, storable } from "./quota.ts";

let system: System;
beforeAll(async () => {
  system = await startSystem();
});
afterAll(() => system[Symbol.asyncDispose]());

/** Makes a user appear to have used all but this much of the quota, in `preferences`. */
async function leave(
  { caller }: Replica,
  left: { entries?: number; bytes?: number },
  of: "user" | "namespace",
): Promise<void> {
  const amount = {
    entries: DEFAULT_QUOTA.entries - (left.entries ?? DEFAULT_QUOTA.entries),
    bytes: DEFAULT_QUOTA.bytes - (left.bytes ?? DEFAULT_QUOTA.bytes),
  };
  await system.admin.query(
    of === "user"
      ? "UPDATE user_state.user_heads SET entries = $2, bytes = $3 WHERE user_id = $1"
      : `UPDATE user_state.user_heads SET usage = jsonb_build_object('preferences', jsonb_build_object('entries', $2::int, 'bytes', $3::int))
         WHERE user_id = $1`,
    [caller.viewer.userId, amount.entries, amount.bytes],
  );
}

async function statuses(replica: Replica, ops: OpText[]): Promise<string[]> {
  const { outcomes, lastSeq } = await replica.push({ ops });
  expect(lastSeq).toBe(ops.at(-1)?.seq);
  return outcomes.map(({ status, reason }) => (reason === null ? status : `${status} ${reason}`));
}

describe.each(["user", "namespace"] as const)("the quota of a %s", (of) => {
  it("of entries refuses a new one, and nothing else", async () => {
    const phone = createReplica(system);
    await phone.push({ ops: [{ seq: 1, key: "there", value: "1" }] });
    await leave(phone, { entries: 1 }, of);
    expect(
      await statuses(phone, [
        { seq: 2, key: "last", value: 1 },
        { seq: 3, key: "one too many", value: 1 },
        { seq: 4, key: "there", value: "changed" },
        { seq: 5, key: "last", payload: { type: "DELETE" } },
        { seq: 6, key: "in its place", value: 1 },
      ]),
    ).toEqual(["APPLIED", "REJECTED OVER_QUOTA", "APPLIED", "APPLIED", "APPLIED"]);
  });

  it("of bytes refuses growth, and passes what shrinks, what stays as long, and what is deleted", async () => {
    const phone = createReplica(system);
    const furthest = { namespace: of === "user" ? "playback" : "preferences", key: "k", field: "furthestSeconds" };
    await phone.push({
      ops: [
        { seq: 1, key: "a", value: "four" },
        { seq: 2, ...furthest, value: 9 },
      ],
    });
    await leave(phone, { bytes: 0 }, of);
    const { quotaRemaining } = await phone.push({ ops: [{ seq: 3, key: "a", value: "same" }] });
    expect(quotaRemaining.bytes).toBe(0);
    expect(
      await statuses(phone, [
        { seq: 4, key: "a", value: "longer" },
        { seq: 5, key: "a", value: "tiny" },
        { seq: 6, key: "a", value: "2" },
        { seq: 7, key: "a", payload: { type: "DELETE" } },
      ]),
    ).toEqual(["REJECTED OVER_QUOTA", "APPLIED", "APPLIED", "APPLIED"]);
    // A deletion makes room, despite the history that remains.
    const freed = await phone.push({ ops: [{ seq: 8, key: "a", value: "fo" }] });
    expect(freed.outcomes).toMatchObject([{ status: "APPLIED" }]);
    expect(freed.quotaRemaining.bytes).toBe(2);
  });

  it("that was lowered leaves a negative rest, and still lets things become less", async () => {
    const phone = createReplica(system);
    await phone.push({ ops: [{ seq: 1, key: "a", value: "x".repeat(100) }] });
    await leave(phone, { bytes: -1_000, entries: -1 }, of);
    const { outcomes, quotaRemaining } = await phone.push({ ops: [{ seq: 2, key: "a", value: "x".repeat(90) }] });
    expect(outcomes).toMatchObject([{ status: "APPLIED" }]);
    expect(quotaRemaining).toEqual({ bytes: -990, entries: -1 });
    expect(
      await statuses(phone, [
        { seq: 3, key: "b", value: 1 },
        { seq: 4, key: "a", payload: { type: "DELETE" } },
      ]),
    ).toEqual(["REJECTED OVER_QUOTA", "APPLIED"]);
  });
});

describe("what is remembered of deletions and of what lost", () => {
  const storedBy = async ({ caller }: Replica) => {
    const { rows } = await system.admin.query(
      `SELECT (usage -> 'preferences' ->> 'stored')::int AS counted, (SELECT sum(bytes)::int FROM user_state.state_entries WHERE user_id = $1) AS stored
       FROM user_state.user_heads WHERE user_id = $1`,
      [caller.viewer.userId],
    );
    return rows[0];
  };

  it("is counted as it is stored", async () => {
    const phone = createReplica(system);
    await phone.push({ ops: [1, 2, 3].map((seq) => ({ seq, key: `k${seq}`, value: "x".repeat(1_000) })) });
    await phone.sibling().push({
      ops: [
        { seq: 1, key: "k1", value: "of somebody who had not seen it" },
        { seq: 2, key: "k2", payload: { type: "DELETE" } },
        { seq: 3, key: "never there", payload: { type: "DELETE" } },
      ],
    });
    const { counted, stored } = await storedBy(phone);
    expect(stored).toBeGreaterThan(3_000);
    expect(counted).toBe(stored);
  });

  it("is bounded: then nothing is added to it, but by what makes less of what is shown", async () => {
    const phone = createReplica(system);
    const laptop = phone.sibling();
    const value = "x".repeat(1_000);
    await phone.push({ ops: ["a", "b", "c"].map((key, index) => ({ seq: index + 1, key, value })) });
    await system.admin.query(
      `UPDATE user_state.user_heads SET usage = usage || jsonb_build_object('notes', jsonb_build_object('stored', $2::bigint)) WHERE user_id = $1`,
      [phone.caller.viewer.userId, storable({ entries: 0, bytes: 0, namespaces: {} }, DEFAULT_QUOTA)],
    );
    const { quotaRemaining } = await phone.push({ ops: [{ seq: 4, key: "a", value: value.toUpperCase() }] });
    expect(quotaRemaining.bytes).toBeLessThan(0);
    expect(
      await statuses(laptop, [
        { seq: 1, key: "one more", value: 1 },
        { seq: 2, key: "b", value: `${value}.` },
        // The same size, replacing a value that was not seen.
        { seq: 3, key: "b", value: value.toUpperCase() },
        { seq: 4, key: "never there", payload: { type: "DELETE" } },
        { seq: 5, key: "b", value: "less" },
        { seq: 6, key: "c", payload: { type: "DELETE" } },
      ]),
    ).toEqual([...Array.from({ length: 4 }, () => "REJECTED OVER_QUOTA"), "APPLIED", "APPLIED"]);
  });
});

it("a user's quota is the environment's; a rest that no Int can say is told as the largest one", async () => {
  await using generous = await startSystem({ QUOTA_ENTRIES: "2", QUOTA_BYTES: String(2 ** 40) });
  const phone = createReplica(generous);
  await generous.admin.query(
    `INSERT INTO user_state.user_heads (user_id, epoch, usage) VALUES ($1, gen_random_uuid(), '{"notes": {"entries": 0, "bytes": ${-(2 ** 40)}}}')`,
    [phone.caller.viewer.userId],
  );
  const notes = { namespace: "notes", key: "n" };
  expect((await phone.push({ ops: [{ seq: 1, ...notes, value: 1 }] })).quotaRemaining).toEqual({
    entries: 1,
    bytes: 2 ** 31 - 1,
  });
  const ops = [2, 3].map((seq) => ({ seq, ...notes, key: `${seq}`, value: 1 }));
  expect(await statuses(phone, ops)).toEqual(["APPLIED", "REJECTED OVER_QUOTA"]);
});

it("a number and a position may get another digit when nothing is left", async () => {
  const phone = createReplica(system);
  const furthest = { namespace: "playback", key: "film", field: "furthestSeconds" };
  await phone.push({ ops: [{ seq: 1, ...furthest, value: 9 }] });
  await leave(phone, { bytes: 0 }, "user");
  expect(await statuses(phone, [{ seq: 2, ...furthest, value: 1_000 }])).toEqual(["APPLIED"]);
});

it("a head counts what is kept by namespace, and the receipt says what is left of it", async () => {
  const phone = createReplica(system);
  const { quotaRemaining } = await phone.push({
    ops: [
      { seq: 1, key: "a", field: "f", value: "12" },
      { seq: 2, namespace: "notes", key: "b", field: "f", value: 1 },
    ],
  });
  expect(quotaRemaining).toEqual({ entries: DEFAULT_QUOTA.entries - 2, bytes: DEFAULT_QUOTA.bytes - 6 - 3 });
  const { rows } = await system.admin.query("SELECT usage FROM user_state.user_heads WHERE user_id = $1", [
    phone.caller.viewer.userId,
  ]);
  expect(rows[0].usage).toMatchObject({ preferences: { entries: 1, bytes: 6 }, notes: { entries: 1, bytes: 3 } });
});
