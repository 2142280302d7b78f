/** One attempt to notify one recipient of one log entry. Each later attempt is an outbox row and a job of its own. */
import { defineJob, type JobHandler } from "@continuo/signals";
import { z } from "zod";
import type { createDelivery } from "./delivery.ts";

const Payload = z.object({
  seq: z.number().int().positive(),
  recipient: z.string(),
  attempts: z.number().int().nonnegative(),
});

/**
 * `attempts` and backoff cover our own faults: a receiver's answer is recorded in the delivery's row, never thrown.
 * After longer faults, `recover-deliveries` takes over.
 */
export const deliverNotice = defineJob({ name: "deliver-notice", schema: Payload, attempts: 5, backoffMs: 1_000 });

/** Concurrent attempts per worker. */
export const DELIVER_CONCURRENCY = 16;

/** The handler. Logs neither addresses nor answers, as both may contain secrets. */
export function createDeliverNotice(delivery: ReturnType<typeof createDelivery>): JobHandler<z.infer<typeof Payload>> {
  return async (attempt, { logger, signal }) => {
    const startedAt = performance.now();
    const outcome = await delivery.deliver(attempt, signal);
    const about = { ...attempt, outcome, ms: Math.round(performance.now() - startedAt) };
    if (outcome.kind === "GONE") logger.warn(about, "a webhook is gone for good: it is disabled");
    else if (outcome.kind === "FAILED") logger.error(about, "a delivery is given up: it waits for an operator");
    else if (outcome.kind === "RETRY") logger.warn(about, "a delivery failed and will be tried again");
    else logger.info(about, "a delivery was attended to");
  };
}
