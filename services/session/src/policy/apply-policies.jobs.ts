/** Finishes interrupted activations and moves sessions that started during one. Idempotent. */
import { defineJob, type JobHandler } from "@continuo/signals";
import { z } from "zod";
import type { Activation } from "./activation.ts";

const Payload = z.object({});

/** Runs on a schedule, one at a time for all workers. */
export const applyPolicies = defineJob({ name: "apply-policies", schema: Payload, attempts: 1, backoffMs: 1_000 });

/** How often. Milliseconds. */
export const APPLY_EVERY_MS = 10_000;

/** The handler. */
export function createApplyPolicies(activation: Pick<Activation, "finish">): JobHandler<z.infer<typeof Payload>> {
  return async (_payload, { signal, logger }) => {
    for (const [applicationId, done] of await activation.finish(signal)) {
      logger.info({ applicationId, ...done }, "sessions follow the policy in force");
    }
  };
}
