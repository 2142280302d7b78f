import { costOf, ONLY_LOOPS } from "@continuo/testkit";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Pool } from "pg";
import { hold, lockWaiters } from "../lock.fixture.ts";
import { startSystem, type System } from "../system.fixture.ts";
import { newApplication, populate } from "../population.fixture.ts";
import { createRetentionStore, forgetSql } from "./retention.store.ts";

const DAY_MS = 24 * 3_600_000;

let system: System;
let pool: Pool;
beforeAll(async () => {
  system = await startSystem();
  await system.addWebhook();
  pool = new Pool({ connectionString: system.env.DATABASE_URL, options: ONLY_LOOPS });
  pool.on("connect", (client) => client.on("error", () => undefined));
});
afterAll(async () => {
  await pool.end();
  await system[Symbol.asyncDispose]();
});

it("what is past its time is forgotten, what is not stays, and doing it again changes nothing", async () => {
  const person = system.person();
  const [ended, alive] = [await person.signIn(), await person.signIn()];
  await ended.data("mutation { signOut { receipt { seq } } }");
  await system.internal("/internal/revocations", {
    replica: "gateway",
    after: null,
    acks: [{ seq: 1, socketsClosed: 1 }],
  });
  await pool.query("UPDATE session.outbox SET enqueued_at = $1", [system.clock.now]);
  const store = createRetentionStore(pool);
  const inDays = (days: number): Date => new Date(system.clock.now.getTime() + days * DAY_MS);

  // Kept however old, as it has not been handed over yet.
  await pool.query(
    "INSERT INTO session.outbox (id, topic, payload, created_at) VALUES (gen_random_uuid(), 'fan-out-revocation', '{}', $1)",
    [inDays(-30)],
  );
  await pool.query("INSERT INTO session.used_client_assertions (id, good_until) VALUES ('x', $1)", [system.clock.now]);
  const none = { redeemedGrants: 0, usedClientAssertions: 0, revocations: 0, endedSessions: 0, devices: 0 };
  const nothing = { ...none, outbox: 0, gatewayReplicas: 0, authEvents: 0 };
  expect(await store.forget(inDays(0))).toEqual(nothing);
  expect(await store.forget(inDays(2))).toEqual({
    ...nothing,
    redeemedGrants: 2,
    usedClientAssertions: 1,
    outbox: 1,
    gatewayReplicas: 1,
  });
  expect(await store.forget(inDays(29))).toEqual(nothing);
  expect(await store.forget(inDays(31))).toEqual({ ...nothing, revocations: 1 });
  expect(await store.forget(inDays(91))).toEqual({ ...nothing, endedSessions: 1 });
  expect(await store.forget(inDays(91))).toEqual(nothing);
  // The device of the remaining session stays, however long ago it was used.
  expect(await store.forget(inDays(401))).toMatchObject({ devices: 1 });
  expect((await pool.query("SELECT id FROM session.devices")).rows).toEqual([{ id: alive.viewer.deviceId }]);

  const { rows } = await pool.query("SELECT id FROM session.sessions");
  expect(rows).toEqual([{ id: alive.viewer.sessionId }]);
  await alive.refresh();
});

it("finds what is past by index among the many that are not, and goes on after it was killed in the middle", async () => {
  const applicationId = await newApplication(system.admin, { idleSeconds: 3_600, absoluteSeconds: 3_600 });
  const sketch = { startedAgo: 0, authAgo: 0, activeAgo: 0, acr: "aal1", approved: undefined };
  const crowd = Array.from({ length: 15_000 }, (_, user) => ({ ...sketch, user }));
  const { ids } = await populate(system.admin, applicationId, crowd, system.clock.now);
  const past = new Date(system.clock.now.getTime() - 91 * DAY_MS);
  await system.admin.query("UPDATE session.sessions SET state = 'REVOKED', ended_at = $2 WHERE id = ANY ($1)", [
    ids.slice(0, 5_000),
    past,
  ]);
  await system.admin.query("ANALYZE session.sessions");
  const before = new Date(system.clock.now.getTime() - 90 * DAY_MS);
  const { indexes } = await costOf(system.admin, { text: forgetSql("endedSessions"), values: [before] });
  expect(indexes).toContain("sessions_ended_idx");

  // In the second of three batches: deleting the session row waits for the deletion of its grant.
  const left = async (): Promise<number> =>
    (
      await system.admin.query("SELECT FROM session.sessions WHERE application_id = $1 AND state <> 'ACTIVE'", [
        applicationId,
      ])
    ).rows.length;
  const { rows: order } = await system.admin.query<{ id: string }>(
    "SELECT id FROM session.sessions WHERE state <> 'ACTIVE' AND ended_at < $1 ORDER BY ended_at, ctid OFFSET 3000 LIMIT 1",
    [before],
  );
  const held = await hold(system.admin, "SELECT FROM session.grants WHERE session_id = $1 FOR UPDATE", [order[0]?.id]);
  await using _ = held;
  const killed = createRetentionStore(pool)
    .forget(system.clock.now)
    .then(
      () => "done",
      () => "killed",
    );
  await lockWaiters(system.admin, 1);
  await system.admin.query(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()",
  );
  expect(await killed).toBe("killed");
  await held[Symbol.asyncDispose]();
  expect([3_000, 5_000]).toContain(await left());
  expect(await createRetentionStore(pool).forget(system.clock.now)).toMatchObject({
    endedSessions: expect.any(Number),
  });
  expect(await left()).toBe(0);
  const { rows: alive } = await system.admin.query("SELECT FROM session.sessions WHERE application_id = $1", [
    applicationId,
  ]);
  expect(alive).toHaveLength(10_000);
});
