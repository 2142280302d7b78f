/** Deletes what is past its retention. Running late or twice does no harm. */
import { defineJob, type JobHandler } from "@continuo/signals";
import { z } from "zod";
import type { RetentionStore } from "./retention.ts";

const Payload = z.object({});

/** Runs on a schedule. */
export const retain = defineJob({ name: "retain", schema: Payload, attempts: 3, backoffMs: 60_000 });

/** How often. Milliseconds. */
export const RETAIN_EVERY_MS = 3_600_000;

/** The handler. */
export function createRetain(options: { store: RetentionStore; now: () => Date }): JobHandler<z.infer<typeof Payload>> {
  return async (_payload, { logger }) => {
    logger.info({ deleted: await options.store.forget(options.now()) }, "retention");
  };
}
