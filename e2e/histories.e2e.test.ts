/**
 * The simulator's histories against the real service on a real Postgres, while both get killed. `HISTORIES=<how many>`
 * runs more, starting from seed `HISTORY=<first>`.
 */
import { KINDS } from "@continuo/merge";
import { change, createReplica, pull, push, receive, settle, show } from "@continuo/replica";
import { createRandom, DEFINITION } from "@continuo/user-state/simulation";
import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { eventually } from "./graph-client.ts";
import { liveThrough, type Load } from "./history.ts";
import { isTransient } from "./state-client.ts";
import { startStateService, type StateService } from "./state-service.ts";

const AT_ONCE = 4;
const STEPS = 250;
const LOAD = 12;
const HISTORIES = Number(process.env["HISTORIES"] ?? AT_ONCE);
const FIRST = Number(process.env["HISTORY"] ?? 1);

let service: StateService;
beforeAll(async () => {
  service = await startStateService();
});
afterAll(() => service[Symbol.asyncDispose]());

/** People with TTL entries that have (or have not yet) expired, in the order in which retention takes them. */
async function peopleWithBrief(condition: "due" | "not due yet"): Promise<string[]> {
  const { rows } = await service.sql.query<{ user_id: string }>(
    `SELECT DISTINCT user_id FROM user_state.state_entries
     WHERE expires_at ${condition === "due" ? "<=" : ">"} statement_timestamp() ORDER BY user_id`,
  );
  return rows.map((row) => row.user_id);
}

/** Retention of expired entries, by a worker that dies in the middle of it and one that takes over. */
async function expireAndRetain(): Promise<void> {
  const { sql, worker } = service;
  await eventually("the end of all that is brief", () => peopleWithBrief("not due yet"), isEmpty);
  const people = await peopleWithBrief("due");
  expect(people.length).toBeGreaterThan(1);
  const last = people.at(-1);
  const holder = await sql.connect();
  try {
    await holder.query("BEGIN");
    await holder.query("SELECT FROM user_state.user_heads WHERE user_id = $1 FOR UPDATE", [last]);
    await service.retain();
    await eventually(
      "one who is left",
      () => peopleWithBrief("due"),
      (left) => left.length === 1,
    );
    await worker.stop("SIGKILL");
    expect(await peopleWithBrief("due")).toEqual([last]);
  } finally {
    await holder.query("ROLLBACK");
    holder.release();
  }
  await worker.start();
  await service.retain();
  await eventually("nobody who is left", () => peopleWithBrief("due"), isEmpty);
}

const isEmpty = (list: readonly unknown[]): boolean => list.length === 0;

/** Everything that stores or carries state dies under load. */
async function rage(load: Load): Promise<void> {
  const {
    processes: [replica],
    worker,
  } = service;
  await load(LOAD);
  await service.killPostgres("SIGQUIT");
  await load(LOAD);
  await service.retain();
  await Promise.all([replica.stop("SIGKILL"), worker.stop("SIGKILL")]);
  await load(LOAD);
  // A process that starts without a database exits, and its supervisor would restart it; there is none here.
  await replica.start();
  await service.killPostgres("SIGKILL");
  await load(LOAD);
  service.wire.freeze();
  await delay(300);
  service.wire.heal();
  await worker.start();
  await load(LOAD);
}

test.each(Array.from({ length: Math.ceil(HISTORIES / AT_ONCE) }, (_, turn) => FIRST + turn * AT_ONCE))(
  "nothing acknowledged is lost and nothing happens twice, whatever dies: seeds %i and the next",
  async (first) => {
    const seeds = Array.from({ length: AT_ONCE }, (_, index) => first + index);
    const reports = await liveThrough(service, { seeds, steps: STEPS, rage, expireAndRetain });
    for (const { faults, ...counts } of reports) {
      // Every fault that was meant to happen did happen.
      expect(Math.min(...Object.values(faults))).toBeGreaterThan(0);
      expect(Math.min(...Object.values(counts))).toBeGreaterThan(0);
    }
  },
);

test("ten thousand counts of four devices are ten thousand, though a fifth of the requests and a quarter of the answers are lost", async () => {
  const random = createRandom(1);
  await using connection = await service.connect({
    faultOf: () => (random.chance(0.2) ? "LOSE_REQUEST" : random.chance(0.25) ? "LOSE_ANSWER" : "NONE"),
  });
  const { server, counts } = connection;
  const unit = { namespace: DEFINITION.name, key: "film", field: "plays" };
  const repeated: number[] = [];

  async function insist<Answer>(ask: () => Promise<Answer>): Promise<Answer> {
    for (;;) {
      try {
        return await ask();
      } catch (cause) {
        if (!isTransient(cause)) throw cause;
        await delay(1);
      }
    }
  }

  async function count(times: number): Promise<unknown> {
    const deviceId = randomUUID();
    let replica = createReplica({ clientId: randomUUID(), deviceId });
    const read = async (): Promise<void> => {
      const request = pull(replica);
      replica = receive(replica, request, await insist(() => server.pull(deviceId, request)), Date.now());
    };
    await read();
    for (let counted = 0; counted < times; counted += 1) {
      const asked = { ...unit, kind: "COUNTER", payload: { type: "ADD", delta: 1 }, schemaVersion: 1 } as const;
      replica = change(replica, asked, { now: Date.now(), kinds: KINDS });
    }
    for (let next = push(replica, Date.now()); next !== null; next = push(replica, Date.now())) {
      const { request } = next;
      const answer = await insist(() => server.push(deviceId, request));
      repeated.push(...answer.outcomes.filter(({ status }) => status === "DUPLICATE").map(({ seq }) => seq));
      replica = settle(next.replica, request, answer, Date.now());
    }
    await read();
    return show(replica, unit, "COUNTER", KINDS).value;
  }

  await Promise.all([2_500, 2_500, 2_500, 2_500].map(count));
  expect(await count(0)).toBe(10_000);
  expect(Math.min(counts.LOSE_REQUEST, counts.LOSE_ANSWER)).toBeGreaterThan(10);
  expect(repeated.length).toBeGreaterThan(500);
});
