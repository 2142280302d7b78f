/** What counts as a lost job: a late one is not posted twice, and a lost one is not forgotten. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Deliveries, startDeliveries } from "../delivery.fixture.ts";
import { createRecoveryStore } from "./recovery.store.ts";

let deliveries: Deliveries;
beforeAll(async () => {
  deliveries = await startDeliveries();
});
afterAll(() => deliveries[Symbol.asyncDispose]());

const NOTHING = { revocations: 0, deliveries: 0 };
const OVERDUE = new Date("2020-01-01T12:00:00Z");
const BEFORE = "2020-01-01T11:00:00Z";
const AFTER = "2020-01-01T13:00:00Z";

const recover = (): ReturnType<ReturnType<typeof createRecoveryStore>["recover"]> =>
  createRecoveryStore(deliveries.pool).recover(OVERDUE);

/** Sets when all outbox rows were handed over; null: not yet. */
async function handedOver(at: string | null): Promise<void> {
  await deliveries.pool.query("UPDATE session.outbox SET enqueued_at = $1::timestamptz", [at]);
}

it("a log entry is lost that is overdue, and was not handed over since", async () => {
  const { pool, system } = deliveries;
  await deliveries.signInAndOut(await deliveries.application("https://logout.test"));
  const entryOf = (at: string): Promise<unknown> => pool.query("UPDATE session.revocations SET at = $1", [at]);
  await handedOver(BEFORE);
  await entryOf(AFTER);
  expect(await recover()).toEqual(NOTHING);
  await entryOf(BEFORE);
  await handedOver(AFTER);
  expect(await recover()).toEqual(NOTHING);
  await handedOver(null);
  expect(await recover()).toEqual(NOTHING);
  await handedOver(BEFORE);
  expect(await recover()).toEqual({ revocations: 1, deliveries: 0 });
  // A row posted just now still waits for its hand-over.
  expect(await recover()).toEqual(NOTHING);
  await handedOver(BEFORE);
  await system.admin.query("UPDATE session.revocations SET told_at = now()");
  expect(await recover()).toEqual(NOTHING);
});

it("an attempt is lost that is overdue, and was not handed over since; another attempt is another", async () => {
  const { pool } = deliveries;
  const { rows } = await pool.query<{ seq: string }>("SELECT max(seq) AS seq FROM session.revocations");
  await pool.query(
    "INSERT INTO session.revocation_deliveries (seq, recipient, created_at, attempts, due_at) VALUES ($1, 'webhook:x', now(), 2, $2)",
    [rows[0]?.seq, AFTER],
  );
  const set = (what: string): Promise<unknown> => pool.query(`UPDATE session.revocation_deliveries SET ${what}`);
  expect(await recover()).toEqual(NOTHING);
  await set(`due_at = '${BEFORE}'`);
  expect(await recover()).toEqual({ revocations: 0, deliveries: 1 });
  for (const at of [null, AFTER]) {
    await handedOver(at);
    expect(await recover()).toEqual(NOTHING);
  }
  await set("attempts = 3");
  expect(await recover()).toEqual({ revocations: 0, deliveries: 1 });
  await handedOver(BEFORE);
  await set("due_at = NULL, failed_at = now()");
  expect(await recover()).toEqual(NOTHING);
});
