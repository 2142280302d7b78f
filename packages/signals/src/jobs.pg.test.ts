import { randomUUID } from "node:crypto";
import { Client } from "pg";
import { expect, test, vi } from "vitest";
import { z } from "zod";
import { openPostgresBus } from "./fixtures/bus.ts";
import { silent, tell } from "./fixtures/settings.ts";
import { defineJob } from "./jobs.ts";
import { describeJobs } from "./jobs.suite.ts";
import { startJobs } from "./start-jobs.ts";

/** Backend process ids of the connections that listen. */
async function listeners(databaseUrl: string): Promise<number[]> {
  const client = new Client({ connectionString: databaseUrl });
  await client.connect();
  const { rows } = await client.query<{ pid: number }>(
    `SELECT pid FROM pg_stat_activity
      WHERE datname = current_database() AND query LIKE '%LISTEN bullmq%' AND query NOT LIKE '%pg_stat_activity%'`,
  );
  await client.end();
  return rows.map(({ pid }) => pid);
}

describeJobs("Postgres", openPostgresBus);

test("jobs over a Postgres that cannot be reached do not start", async () => {
  await using bus = await openPostgresBus();
  bus.proxy.down();
  await expect(startJobs({ ...bus, logger: silent })).rejects.toThrow("Connection terminated");
});

test("a process listens once, on however many queues it works: each notification wakes all who listen", async () => {
  await using bus = await openPostgresBus();
  await using jobs = await startJobs({ ...bus, logger: silent });
  const ran: string[] = [];
  const queues = Array.from({ length: 12 }, () => defineJob({ ...tell, name: `tell-${randomUUID()}` }));
  for (const queue of queues) await jobs.work(queue, async ({ subject }) => void ran.push(subject));
  for (const queue of queues) await jobs.enqueue(queue, { subject: queue.name });
  await vi.waitFor(() => expect(ran).toHaveLength(queues.length), { timeout: 60_000 });
  expect(await listeners(bus.databaseUrl)).toHaveLength(1);
});

test("a schedule that another process holds for ever is waited for no longer than a moment, and leaves no connection behind", async () => {
  await using bus = await openPostgresBus();
  await using jobs = await startJobs({ ...bus, logger: silent });
  const job = defineJob({ name: `tidy-${randomUUID()}`, schema: z.object({}), attempts: 1, backoffMs: 10 });
  const other = new Client({ connectionString: bus.databaseUrl });
  await other.connect();
  try {
    await other.query("SELECT pg_advisory_lock(hashtextextended($1, 0))", [`jobs:${job.name}`]);
    await expect(jobs.every(job, { everyMs: 60_000 })).rejects.toMatchObject({ code: "E_DB_UNREACHABLE" });
    await vi.waitFor(
      async () => {
        const { rows } = await other.query(
          `SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory'`,
        );
        expect(rows).toEqual([]);
      },
      { timeout: 60_000 },
    );
  } finally {
    await other.end();
  }
});

test("a schedule that is late, as its next job got lost, begins anew", async () => {
  await using bus = await openPostgresBus();
  await using jobs = await startJobs({ ...bus, logger: silent, assertSchedulesEveryMs: 200 });
  const job = defineJob({ name: `tidy-${randomUUID()}`, schema: z.object({}), attempts: 1, backoffMs: 10 });
  let runs = 0;
  await jobs.work(job, async () => void (runs += 1));
  await jobs.every(job, { everyMs: 2_000 });
  await vi.waitFor(() => expect(runs).toBe(1), { timeout: 60_000 });
  const admin = new Client({ connectionString: bus.adminUrl });
  await admin.connect();
  const lose = "DELETE FROM jobs.job WHERE queue = $1 AND state = 'delayed'";
  await vi.waitFor(async () => expect((await admin.query(lose, [job.name])).rowCount).toBe(1), { timeout: 60_000 });
  await admin.end();
  await vi.waitFor(() => expect(runs).toBeGreaterThan(2), { timeout: 60_000 });
});

test("a connection that listens and has fallen silent unnoticed is given up for another, over which workers hear of jobs", async () => {
  await using bus = await openPostgresBus();
  await using jobs = await startJobs({ ...bus, logger: silent });
  const ran: string[] = [];
  const job = defineJob({ ...tell, name: `tell-${randomUUID()}` });
  await jobs.work(job, async ({ subject }) => void ran.push(subject));
  await jobs.enqueue(job, { subject: "before" });
  await vi.waitFor(() => expect(ran).toEqual(["before"]), { timeout: 60_000 });
  const pid = await vi.waitFor(async () => z.number().parse((await listeners(bus.databaseUrl))[0]), {
    timeout: 60_000,
  });
  process.kill(pid, "SIGSTOP");
  try {
    await vi.waitFor(async () => expect(await listeners(bus.databaseUrl)).toHaveLength(2), { timeout: 60_000 });
    await jobs.enqueue(job, { subject: "after" });
    await vi.waitFor(() => expect(ran).toEqual(["before", "after"]), { timeout: 60_000 });
  } finally {
    process.kill(pid, "SIGCONT");
  }
});
