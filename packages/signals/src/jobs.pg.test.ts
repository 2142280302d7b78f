import { randomUUID } from "node:crypto";
import { Client } from "pg";
import { expect, test, vi } from "vitest";
import { openPostgresBus } from "./fixtures/bus.ts";
import { silent, tell } from "./fixtures/settings.ts";
import { defineJob } from "./jobs.ts";
import { describeJobs } from "./jobs.suite.ts";
import { startJobs } from "./start-jobs.ts";

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
  const client = new Client({ connectionString: bus.databaseUrl });
  await client.connect();
  const { rows } = await client.query(
    "SELECT FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND query LIKE '%\nLISTEN bullmq%'",
  );
  await client.end();
  expect(rows).toHaveLength(1);
});
