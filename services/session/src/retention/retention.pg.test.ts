import { afterAll, beforeAll, expect, it } from "vitest";
import { Pool } from "pg";
import { startSystem, type System } from "../system.fixture.ts";
import { createRetentionStore } from "./retention.store.ts";

const DAY_MS = 24 * 3_600_000;

let system: System;
let pool: Pool;
beforeAll(async () => {
  system = await startSystem();
  pool = new Pool({ connectionString: system.env.DATABASE_URL });
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

  const nothing = { redeemedGrants: 0, revocations: 0, endedSessions: 0, outbox: 0, gatewayReplicas: 0 };
  expect(await store.forget(inDays(0))).toEqual(nothing);
  expect(await store.forget(inDays(2))).toEqual({ ...nothing, redeemedGrants: 2, outbox: 1, gatewayReplicas: 1 });
  expect(await store.forget(inDays(29))).toEqual(nothing);
  expect(await store.forget(inDays(31))).toEqual({ ...nothing, revocations: 1 });
  expect(await store.forget(inDays(91))).toEqual({ ...nothing, endedSessions: 1 });
  expect(await store.forget(inDays(91))).toEqual(nothing);

  const { rows } = await pool.query("SELECT id FROM session.sessions");
  expect(rows).toEqual([{ id: alive.viewer.sessionId }]);
  await alive.refresh();
});
