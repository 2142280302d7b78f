/**
 * Posts again the jobs that are long overdue: they were lost with a queue's data, or failed too often by a fault of
 * ours.
 * A duplicate does nothing, as fan-outs and attempts are idempotent.
 */
import { defineJob, type JobHandler } from "@continuo/signals";
import { z } from "zod";

const Payload = z.object({});

/** Runs on a schedule, one at a time for all workers. */
export const recoverDeliveries = defineJob({
  name: "recover-deliveries",
  schema: Payload,
  attempts: 1,
  backoffMs: 1_000,
});

/** How often. Milliseconds. */
export const RECOVER_EVERY_MS = 60_000;
/** How overdue a job must be to count as lost; also how often it is posted again. Milliseconds. */
const OVERDUE_MS = 5 * 60_000;

export interface RecoveryStore {
  /** Posts jobs for log entries not fanned out and deliveries not attempted, due before `overdue`. Returns how many. */
  recover(overdue: Date): Promise<{ revocations: number; deliveries: number }>;
}

/** The handler. */
export function createRecoverDeliveries(options: {
  store: RecoveryStore;
  posted: () => Promise<void>;
  now: () => Date;
}): JobHandler<z.infer<typeof Payload>> {
  const { store, posted, now } = options;
  return async (_payload, { logger }) => {
    const recovered = await store.recover(new Date(now().getTime() - OVERDUE_MS));
    if (recovered.revocations + recovered.deliveries === 0) return;
    logger.warn(recovered, "jobs were lost: what they had to tell is handed over again");
    await posted();
  };
}
