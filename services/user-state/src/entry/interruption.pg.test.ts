import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createReplica, shown, startSystem, type System } from "../system.fixture.ts";

let system: System;
beforeAll(async () => {
  system = await startSystem();
});
afterAll(() => system[Symbol.asyncDispose]());

const RETRY = { stop: "RETRY", retryAfterMs: expect.toSatisfy((ms: number) => ms >= 250 && ms <= 750) };

it("a change of what cannot be read is refused, and blocks nothing", async () => {
  const phone = createReplica(system);
  await phone.push({ ops: [{ seq: 1, key: "broken", value: 1 }] });
  const { userId } = phone.caller.viewer;
  const { rows } = await system.admin.query<{ state: object }>(
    "SELECT state FROM user_state.state_entries WHERE user_id = $1",
    [userId],
  );
  const store = (state: unknown): Promise<unknown> =>
    system.admin.query(
      `WITH head AS (UPDATE user_state.user_heads SET rev = rev WHERE user_id = $1)
       UPDATE user_state.state_entries SET state = $2 WHERE user_id = $1 AND key = 'broken'`,
      [userId, state],
    );
  await store({ standing: 7 });
  const ops = [
    { seq: 2, key: "before", value: 2 },
    { seq: 3, key: "broken", value: 3 },
    { seq: 4, key: "behind", value: 4 },
  ];
  const refused = { status: "REJECTED", reason: "UNIT_BROKEN" };
  expect(await phone.push({ ops })).toMatchObject({
    stop: null,
    outcomes: [{ status: "APPLIED" }, { ...refused, current: null }, { status: "APPLIED" }],
    lastSeq: 4,
  });
  expect(await phone.push({ ops: ops.slice(1, 2) })).toMatchObject({
    outcomes: [{ status: "DUPLICATE", first: refused }],
  });

  await store(rows[0]?.state);
  expect(await phone.push({ ops: [{ seq: 5, key: "broken", value: 5 }] })).toMatchObject({
    outcomes: [{ status: "APPLIED" }],
  });
  expect(shown([await phone.pull()])).toEqual({ "before/colour": 2, "behind/colour": 4, "broken/colour": 5 });
});

describe("a push that cannot be settled now", () => {
  it("is undone whole by a fault of the database: nothing of it stands, all that was settled before does", async () => {
    const phone = createReplica(system);
    await phone.push({ ops: [{ seq: 1, key: "held", value: 1 }] });
    const { userId } = phone.caller.viewer;
    const other = await system.admin.connect();
    try {
      await other.query("BEGIN");
      await other.query("SELECT 1 FROM user_state.state_entries WHERE user_id = $1 FOR UPDATE", [userId]);
      const pushing = phone.push({
        ops: [
          { seq: 2, key: "free", value: 2 },
          { seq: 3, key: "held", value: 3 },
        ],
      });
      // The push holds the head and waits for the unit; the unit's holder waits for the head: a deadlock.
      await expect
        .poll(async () => {
          const { rowCount } = await system.admin.query(
            "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()",
          );
          return rowCount;
        })
        .toBe(1);
      await other.query("SELECT 1 FROM user_state.user_heads WHERE user_id = $1 FOR UPDATE", [userId]);
      expect(await pushing).toMatchObject({ ...RETRY, outcomes: [], lastSeq: 1, headRev: 1 });
      expect((await pushing).quotaRemaining.entries).toBe(4_999);
    } finally {
      await other.query("ROLLBACK");
      other.release();
    }
    expect(shown([await phone.pull()])).toEqual({ "held/colour": 1 });
    const again = await phone.push({
      ops: [
        { seq: 2, key: "free", value: 2 },
        { seq: 3, key: "held", value: 3 },
      ],
    });
    expect(again).toMatchObject({ stop: null, lastSeq: 3 });
    expect(again.outcomes.map(({ status }) => status)).toEqual(["APPLIED", "APPLIED"]);
  });

  it("that waits for a lock too long is answered before the gateway gives it up", async () => {
    const phone = createReplica(system);
    await phone.push({ ops: [{ seq: 1, value: 1 }] });
    const other = await system.admin.connect();
    try {
      await other.query("BEGIN");
      await other.query("SELECT 1 FROM user_state.user_heads WHERE user_id = $1 FOR UPDATE", [
        phone.caller.viewer.userId,
      ]);
      const startedAt = performance.now();
      expect(await phone.push({ ops: [{ seq: 2, value: 2 }] })).toMatchObject({ ...RETRY, outcomes: [], lastSeq: 1 });
      expect(performance.now() - startedAt).toBeLessThan(9_000);
    } finally {
      await other.query("ROLLBACK");
      other.release();
    }
  });
});
