import { randomUUID } from "node:crypto";
import { expect, test, vi } from "vitest";
import { openPostgresBus } from "./fixtures/bus.ts";
import { LOCK_MS, silent, tell } from "./fixtures/settings.ts";
import { openPostgresBackend } from "./jobs.postgres.ts";
import { defineJob } from "./jobs.ts";
import { startJobs } from "./start-jobs.ts";
import { startWorker } from "./worker.ts";

test("a job that a worker has claimed when it is asked to close is given back unbegun, and another worker does it", async () => {
  await using bus = await openPostgresBus();
  await using jobs = await startJobs({ ...bus, logger: silent });
  await using backend = await openPostgresBackend({ databaseUrl: bus.databaseUrl, logger: silent });
  const [claimed, goOn] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const definition = defineJob({ ...tell, attempts: 1, name: `tell-${randomUUID()}` });
  const ran: string[] = [];
  const closing = startWorker({
    definition,
    handler: async () => void ran.push("by the one that closes"),
    concurrency: 1,
    backend: {
      ...backend.worker,
      factory(name, options) {
        const opened = backend.worker.factory(name, options);
        const claim = opened.moveToActive.bind(opened);
        opened.moveToActive = async (...asked) => {
          const got = await claim(...asked);
          if (got[0]) {
            claimed.resolve();
            await goOn.promise;
          }
          return got;
        };
        return opened;
      },
    },
    prefix: "{continuo}",
    lockMs: LOCK_MS,
    maxDeaths: 5,
    logger: silent,
  });
  await jobs.enqueue(definition, { subject: "a letter" });
  await claimed.promise;
  const closed = closing[Symbol.asyncDispose]();
  goOn.resolve();
  await closed;
  await jobs.work(definition, async (_, { attempt }) => void ran.push(`by another, attempt ${attempt}`));
  await vi.waitFor(() => expect(ran).toHaveLength(1), { timeout: 60_000 });
  expect(ran).toEqual([expect.stringContaining("by another")]);
});
