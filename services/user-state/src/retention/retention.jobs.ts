import { defineJob, type Jobs } from "@continuo/signals";
import { z } from "zod";
import type { createRetention } from "./retention.ts";

/**
 * The job that forgets what is due. Its name is the queue's, which all services share, so it says whose data it
 * retains.
 */
export const retainState = defineJob({ name: "retain-state", schema: z.object({}), attempts: 5, backoffMs: 10_000 });

const EVERY_MS = 3_600_000;

/** Runs retention once an hour, in one of the workers. */
export async function startRetention(jobs: Jobs, retain: ReturnType<typeof createRetention>): Promise<AsyncDisposable> {
  const worker = await jobs.work(
    retainState,
    async (_payload, { signal, logger }) => logger.info(await retain(signal), "forgot what was due"),
    { concurrency: 1 },
  );
  await jobs.every(retainState, { everyMs: EVERY_MS });
  return worker;
}
