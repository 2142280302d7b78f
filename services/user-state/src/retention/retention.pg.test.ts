import { startJobs } from "@continuo/signals/jobs";
import { createLogger } from "@continuo/process";
import { Pool } from "pg";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { createReplica, shown, startSystem, type Replica, type System } from "../system.fixture.ts";
import { startWorkers } from "../worker-app.ts";
import { retainState } from "./retention.jobs.ts";
import { createRetention, type Forgotten } from "./retention.ts";
import { createRetentionStore } from "./retention.store.ts";

const DAY_MS = 24 * 3_600_000;

let system: System;
let pool: Pool;
beforeAll(async () => {
  system = await startSystem();
  await system.admin.query(
    `INSERT INTO user_state.namespaces (name, version, kinds, schema, persistence, created_at)
     VALUES ('desk', 1, '{"draft": "DRAFT", "text": "TEXT", "map": "MAP", "count": "COUNTER"}', '{}', 'DURABLE', now())`,
  );
  pool = new Pool({ connectionString: system.database.url.userState, max: 3 });
  pool.on("error", () => undefined);
});
afterAll(async () => {
  await pool.end();
  await system[Symbol.asyncDispose]();
});

/** Retention as it will be in `days`. */
function retainIn(days: number, signal = new AbortController().signal): Promise<Forgotten> {
  const now = async () => new Date(Date.now() + days * DAY_MS);
  return createRetention({ ...createRetentionStore(pool), now })(signal);
}

/** Makes everything of a user look `days` older, as if it had been written then. */
async function age(userId: string, days: number): Promise<void> {
  await system.admin.query(
    "UPDATE user_state.state_entries SET ms = ms - $2, removed_ms = removed_ms - $2 WHERE user_id = $1",
    [userId, days * DAY_MS],
  );
}

const fence = async (userId: string): Promise<number> => {
  const { rows } = await system.admin.query("SELECT pruned_rev::int FROM user_state.user_heads WHERE user_id = $1", [
    userId,
  ]);
  return rows[0].pruned_rev;
};

describe("a tombstone", () => {
  it("is kept for 90 days, and after that until every replica has acknowledged it", async () => {
    const phone = createReplica(system);
    const laptop = phone.sibling();
    const { userId } = phone.caller.viewer;
    await phone.push({
      ops: [
        { seq: 1, key: "gone", value: 1 },
        { seq: 2, key: "kept", value: 2 },
      ],
    });
    const { to } = await laptop.pull();
    await laptop.pull({ since: to, clientId: laptop.clientId });
    await phone.push({ baseRev: 2, ops: [{ seq: 3, key: "gone", payload: { type: "DELETE" } }] });
    await phone.push({ baseRev: 3, ops: [{ seq: 4, key: "kept", value: 3 }] });

    expect((await retainIn(89)).tombstones).toBe(0);
    // The laptop has not heard of it.
    expect((await retainIn(91)).tombstones).toBe(0);
    const told = await laptop.pull({ since: to, clientId: laptop.clientId });
    expect(told.entries.map(({ key, deleted }) => [key, deleted])).toEqual([
      ["gone", true],
      ["kept", false],
    ]);
    expect(await fence(userId)).toBe(0);

    await laptop.pull({ since: told.to, clientId: laptop.clientId });
    expect((await retainIn(91)).tombstones).toBe(1);
    expect((await retainIn(91)).tombstones).toBe(0);
    expect(await fence(userId)).toBe(3);
    const { rows } = await system.admin.query(
      `SELECT (usage -> 'preferences' ->> 'stored')::int AS counted, entry.bytes AS stored
       FROM user_state.user_heads JOIN user_state.state_entries AS entry USING (user_id) WHERE user_id = $1`,
      [userId],
    );
    expect(rows).toEqual([{ counted: rows[0].stored, stored: expect.any(Number) }]);

    // Readers behind the fence start over; readers past it continue.
    const reset = await laptop.pull({ since: to });
    expect(reset).toMatchObject({ reset: "PRUNED", from: to });
    expect(shown([reset])).toEqual({ "kept/colour": 3 });
    expect((await laptop.pull({ since: told.to })).reset).toBeNull();
  });

  it("is as old as its latest deletion, and lowers no fence when it is forgotten", async () => {
    const phone = createReplica(system);
    const { userId } = phone.caller.viewer;
    const remove = (seq: number) => ({ seq, key: "gone", payload: { type: "DELETE" } });
    await phone.push({ ops: [{ seq: 1, key: "gone", value: 1 }, remove(2)] });
    await age(userId, 120);
    await phone.push({ baseRev: 2, ops: [remove(3)] });
    await phone.push({ baseRev: 3, ops: [{ seq: 4, key: "kept", value: 1 }] });
    expect((await retainIn(0)).tombstones).toBe(0);
    await system.admin.query("UPDATE user_state.user_heads SET pruned_rev = 4 WHERE user_id = $1", [userId]);
    expect((await retainIn(91)).tombstones).toBe(1);
    expect(await fence(userId)).toBe(4);
  });

  it("that is forgotten lets a beginner read page by page below the fence", async () => {
    const phone = createReplica(system);
    const ops = Array.from({ length: 5 }, (_, index) => ({ seq: index + 1, key: `k${index}`, value: index }));
    await phone.push({ ops });
    await phone.push({ baseRev: 5, ops: [{ seq: 6, key: "k4", payload: { type: "DELETE" } }] });
    await phone.push({ baseRev: 6, ops: [{ seq: 7, key: "k5", value: 5 }] });
    expect((await retainIn(91)).tombstones).toBe(1);
    let batch = await phone.pull({ first: 1 });
    const batches = [batch];
    while (batch.hasMore) batches.push((batch = await phone.pull({ first: 1, since: batch.to })));
    expect(batches.map(({ reset }) => reset)).toEqual(["INITIAL", null, null, null, null]);
    expect(shown(batches)).toEqual({ "k0/colour": 0, "k1/colour": 1, "k2/colour": 2, "k3/colour": 3, "k5/colour": 5 });
  });

  it("that is forgotten still keeps what it deleted from coming back", async () => {
    const phone = createReplica(system);
    const tablet = phone.sibling();
    const { userId } = phone.caller.viewer;
    const { outcomes } = await phone.push({
      ops: [
        { seq: 1, key: "film", value: 1 },
        { seq: 2, key: "other", value: 1 },
      ],
    });
    const seen = { ms: (outcomes[0]?.stamp?.ms ?? 0) - 120 * DAY_MS, counter: outcomes[0]?.stamp?.counter ?? 0 };
    await phone.push({ baseRev: 2, ops: [{ seq: 3, key: "film", payload: { type: "DELETE" } }] });
    await phone.push({ baseRev: 3, ops: [{ seq: 4, key: "other", value: 2 }] });
    await age(userId, 120);
    expect((await retainIn(0)).tombstones).toBe(1);

    const clientNow = Date.now();
    const stamp = { ms: clientNow - 119 * DAY_MS, counter: 0 };
    const late = await tablet.push({
      clientNow,
      ops: [
        { seq: 1, key: "film", value: "late", stamp, seen },
        { seq: 2, key: "film", value: "late, unseen", stamp },
        { seq: 3, key: "film", payload: { type: "DELETE" }, stamp },
        { seq: 4, key: "film", value: "written today", stamp: { ms: clientNow, counter: 4 }, seen },
        // By who has read of all that is forgotten.
        { seq: 5, key: "new", value: "late", stamp, baseRev: 3 },
        { seq: 6, key: "known", value: "late", stamp, seen, baseRev: 3 },
      ],
    });
    expect(late.outcomes.map(({ status, reason }) => [status, reason])).toEqual([
      ["REJECTED", "GONE"],
      ["REJECTED", "GONE"],
      ["NOOP", null],
      ["APPLIED", null],
      ["APPLIED", null],
      ["REJECTED", "GONE"],
    ]);
  });
});

describe("a generation", () => {
  const draft = { namespace: "desk", key: "mail", field: "draft" };
  const edit = (generation: number) => ({ type: "EDIT", generation, name: "body", value: `of ${generation}` });
  const submit = (generation: number) => ({ type: "SUBMIT", generation, idempotencyKey: null });

  it("that is forgotten goes on for who has read of its end, and is over for who has not", async () => {
    const phone = createReplica(system);
    const tablet = phone.sibling();
    const { userId } = phone.caller.viewer;
    const { outcomes } = await phone.push({ ops: [{ seq: 1, ...draft, payload: edit(0) }] });
    const seen = { ms: outcomes[0]?.stamp?.ms ?? 0, counter: outcomes[0]?.stamp?.counter ?? 0 };
    await phone.push({ baseRev: 1, ops: [{ seq: 2, ...draft, payload: submit(0) }] });
    await phone.push({ baseRev: 2, ops: [{ seq: 3, value: 1 }] });
    await age(userId, 100);
    expect((await retainIn(0)).tombstones).toBe(1);

    // Written today by a tablet that has been away since: by its stamp it would be the later one.
    const late = await tablet.push({
      ops: [
        { seq: 1, ...draft, payload: edit(0), seen },
        { seq: 2, ...draft, key: "another", payload: edit(0) },
      ],
    });
    expect(late.outcomes.map(({ status, reason }) => [status, reason])).toEqual([
      ["REJECTED", "GONE"],
      ["APPLIED", null],
    ]);
    const next = await phone.push({ baseRev: 3, ops: [{ seq: 4, ...draft, payload: edit(1), baseRev: 3 }] });
    expect(next.outcomes).toMatchObject([{ status: "APPLIED" }]);
    expect((await phone.pull()).entries.find(({ key }) => key === "mail")).toMatchObject({
      value: { generation: 1, fields: { body: "of 1" } },
    });
  });

  it("of a text that is forgotten takes the text's updates along", async () => {
    const phone = createReplica(system);
    const { userId } = phone.caller.viewer;
    const text = { namespace: "desk", key: "mail", field: "text" };
    await phone.push({ ops: [{ seq: 1, ...text, payload: { type: "RESET", generation: 0 } }] });
    await system.admin.query(
      "INSERT INTO user_state.text_updates SELECT user_id, namespace, key, field, 1, 'AAAA' FROM user_state.state_entries WHERE user_id = $1",
      [userId],
    );
    await phone.push({ baseRev: 1, ops: [{ seq: 2, value: 1 }] });
    expect((await retainIn(91)).tombstones).toBe(1);
    const { rows } = await system.admin.query("SELECT FROM user_state.text_updates WHERE user_id = $1", [userId]);
    expect(rows).toEqual([]);
  });
});

describe("a member that was taken out of a map", () => {
  const map = { namespace: "desk", key: "things", field: "map" };
  const set = (name: string) => ({ type: "SET", name, value: 1 });
  const unset = (name: string) => ({ type: "UNSET", name });

  it("is remembered until it is old and every replica has acknowledged it; then it does not come back either", async () => {
    const phone = createReplica(system);
    const laptop = phone.sibling();
    const { userId } = phone.caller.viewer;
    const clientNow = Date.now();
    const days = (ago: number, counter: number) => ({ ms: clientNow - ago * DAY_MS, counter });
    await phone.push({
      clientNow,
      ops: [
        { seq: 1, ...map, payload: set("old"), stamp: days(120, 0) },
        { seq: 2, ...map, payload: unset("old"), stamp: days(110, 0) },
        { seq: 3, ...map, payload: unset("young"), stamp: days(10, 0) },
        { seq: 4, ...map, payload: set("kept"), stamp: days(9, 0) },
      ],
    });
    const remembered = async () => {
      const [entry] = (await phone.pull({ namespaces: ["desk"] })).entries;
      const state = JSON.stringify(entry?.state);
      expect(entry?.value).toEqual({ kept: 1 });
      return ["old", "young"].filter((name) => state.includes(`"${name}"`));
    };
    const { to } = await laptop.pull();
    await laptop.pull({ since: to, clientId: laptop.clientId });
    // The phone acknowledges with its next push; until then it might still ask.
    expect((await retainIn(0)).maps).toBe(0);
    await phone.push({ baseRev: 4, ops: [{ seq: 5, value: 1, baseRev: 4 }] });
    expect((await retainIn(0)).maps).toBe(1);
    expect((await retainIn(0)).maps).toBe(0);
    expect(await remembered()).toEqual(["young"]);
    expect(await fence(userId)).toBe(2);
    // A change like every other: who had read everything is told.
    expect((await laptop.pull({ since: to })).entries.map(({ key, rev }) => [key, rev])).toEqual([
      ["theme", 5],
      ["things", 6],
    ]);
    expect((await retainIn(100)).maps).toBe(1);
    expect(await remembered()).toEqual([]);

    const late = await phone.sibling().push({
      clientNow,
      ops: [
        { seq: 1, ...map, payload: set("old"), stamp: days(115, 0) },
        { seq: 2, ...map, payload: set("new"), stamp: days(1, 0) },
      ],
    });
    expect(late.outcomes.map(({ status, reason }) => [status, reason])).toEqual([
      ["REJECTED", "GONE"],
      ["APPLIED", null],
    ]);
    const counted = await system.admin.query(
      `SELECT sum(entry.bytes)::int AS stored, usage -> 'desk' AS counted FROM user_state.state_entries AS entry
       JOIN user_state.user_heads AS head USING (user_id) WHERE user_id = $1 AND namespace = 'desk' GROUP BY usage`,
      [userId],
    );
    const { stored } = counted.rows[0];
    expect(counted.rows[0].counted).toMatchObject({ bytes: stored, stored });
    const { rows } = await system.admin.query(
      `SELECT bytes::int, (SELECT sum((value ->> 'bytes')::int)::int FROM jsonb_each(usage)) AS counted
       FROM user_state.user_heads WHERE user_id = $1`,
      [userId],
    );
    expect(rows[0].bytes).toBe(rows[0].counted);
  });
});

describe("a replica", () => {
  it("not seen for 180 days is forgotten, holds no tombstone back, and is told so when it returns", async () => {
    const phone = createReplica(system);
    const tablet = phone.sibling();
    const { userId } = phone.caller.viewer;
    await tablet.push({ ops: [{ seq: 1, key: "gone", value: 1 }] });
    await phone.push({ baseRev: 1, ops: [{ seq: 1, key: "gone", payload: { type: "DELETE" } }] });
    await phone.push({ baseRev: 2, ops: [{ seq: 2, value: 1 }] });
    await age(userId, 100);
    expect(await retainIn(0)).toMatchObject({ tombstones: 0 });
    await system.admin.query(
      "UPDATE user_state.sync_clients SET seen_at = seen_at - interval '181 days' WHERE user_id = $1 AND client_id = $2",
      [userId, tablet.clientId],
    );
    expect(await retainIn(0)).toMatchObject({ replicas: 1, tombstones: 1 });
    const { errors } = await tablet.send({ ops: [{ seq: 2, value: "late" }] });
    expect(errors?.[0]?.extensions).toMatchObject({
      reason: "CLIENT_UNKNOWN",
      details: { clientsPrunedBefore: expect.stringMatching(/^\d{4}-/) },
    });
  });

  it("that may have been forgotten counts nothing that it may have counted before, whatever its clock says", async () => {
    const phone = createReplica(system);
    await phone.push({ ops: [{ seq: 1, value: 1 }] });
    await system.admin.query(
      "UPDATE user_state.sync_clients SET seen_at = seen_at - interval '181 days' WHERE user_id = $1",
      [phone.caller.viewer.userId],
    );
    expect(await retainIn(0)).toMatchObject({ replicas: 1 });
    const count = (ageDays: number, skewDays: number) => {
      const clientNow = Date.now() + skewDays * DAY_MS;
      const stamp = { ms: clientNow - ageDays * DAY_MS, counter: 0 };
      const payload = { type: "ADD", delta: 1 };
      return phone.sibling().send({ clientNow, ops: [{ seq: 1, namespace: "desk", field: "count", payload, stamp }] });
    };
    for (const skewDays of [-400, 0, 400]) {
      expect((await count(181, skewDays)).errors?.[0]?.extensions.reason).toBe("CLIENT_UNKNOWN");
      expect((await count(179, skewDays)).data?.pushState.outcomes).toMatchObject([{ status: "APPLIED" }]);
    }
  });

  it("that is forgotten never makes what others were forgotten by any earlier", async () => {
    const phone = createReplica(system);
    const tablet = phone.sibling();
    const { userId } = phone.caller.viewer;
    const forgottenBefore = async (replica: Replica, idleDays: number, inDays: number): Promise<Date> => {
      await replica.push({ ops: [{ seq: 1, value: 1 }] });
      await system.admin.query(
        "UPDATE user_state.sync_clients SET seen_at = seen_at - $2::interval WHERE user_id = $1",
        [userId, `${idleDays} days`],
      );
      expect((await retainIn(inDays)).replicas).toBe(1);
      const { rows } = await system.admin.query<{ clients_pruned_before: Date }>(
        "SELECT clients_pruned_before FROM user_state.user_heads WHERE user_id = $1",
        [userId],
      );
      if (rows[0] === undefined) throw new Error("there is a head");
      return rows[0].clients_pruned_before;
    };
    const first = await forgottenBefore(phone, 181, 0);
    expect(await forgottenBefore(tablet, 190, -5)).toEqual(first);
  });
});

describe("retention", () => {
  it("forgets answers after 30 days; a repeated op is a duplicate all the same", async () => {
    const phone = createReplica(system);
    const ops = [{ seq: 1, namespace: "nowhere", value: 1 }];
    await phone.push({ ops });
    expect((await retainIn(29)).answers).toBe(0);
    expect((await retainIn(31)).answers).toBeGreaterThan(0);
    expect((await phone.push({ ops })).outcomes).toMatchObject([{ status: "DUPLICATE", first: null }]);
  });

  it("forgets activities a day after they are over, and no other", async () => {
    const activity = (id: number, expires: string) =>
      system.admin.query(
        `INSERT INTO user_state.activities
           (user_id, id, device_id, namespace, key, field, kind, title, uris, stamp_ms, stamp_counter, at, expires_at, rev)
         SELECT user_id, user_id, user_id, 'desk', $1::text, 'draft', 'write', 'x', '[]', 1, 0, now(), now() + $2::interval, 1
         FROM gen_random_uuid() AS user_id`,
        [String(id), expires],
      );
    await activity(1, "-25 hours");
    await activity(2, "-23 hours");
    await activity(3, "1 hour");
    expect((await retainIn(0)).activities).toBe(1);
    const { rows } = await system.admin.query("SELECT key FROM user_state.activities ORDER BY key");
    expect(rows).toEqual([{ key: "2" }, { key: "3" }]);
  });

  it("goes by the database's clock, whatever the worker's says", async () => {
    const phone = createReplica(system);
    await phone.push({ ops: [{ seq: 1, key: "gone", payload: { type: "DELETE" } }] });
    await phone.push({ baseRev: 1, ops: [{ seq: 2, namespace: "nowhere", value: 1 }] });
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 400 * DAY_MS });
    try {
      const { replicas, answers, tombstones } = await createRetention(createRetentionStore(pool))(
        new AbortController().signal,
      );
      expect({ replicas, answers, tombstones }).toEqual({ replicas: 0, answers: 0, tombstones: 0 });
    } finally {
      vi.useRealTimers();
    }
  });

  it("stops when told to", async () => {
    await expect(retainIn(0, AbortSignal.abort(new Error("closing")))).rejects.toThrow("closing");
  });

  it("is what a worker does, by a job", async () => {
    const phone = createReplica(system);
    await phone.push({ ops: [{ seq: 1, namespace: "nowhere", value: 1 }] });
    await system.admin.query("UPDATE user_state.op_outcomes SET at = at - interval '31 days'");
    await using _ = await startWorkers(system.env);
    const logger = createLogger({ name: "test", level: "silent" });
    await using jobs = await startJobs({ databaseUrl: system.env.DATABASE_URL, logger });
    await jobs.enqueue(retainState, {});
    await vi.waitFor(
      async () => {
        const { rows } = await system.admin.query("SELECT FROM user_state.op_outcomes");
        expect(rows).toEqual([]);
      },
      { timeout: 60_000, interval: 50 },
    );
  });
});
