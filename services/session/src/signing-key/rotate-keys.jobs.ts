/** Takes the due steps of the signing key rotation. Running late or twice does no harm. */
import { defineJob, type JobHandler } from "@continuo/signals";
import { z } from "zod";
import type { KeyRotation } from "./key-rotation.ts";

const Payload = z.object({});

/** Runs on a schedule. */
export const rotateKeys = defineJob({ name: "rotate-keys", schema: Payload, attempts: 1, backoffMs: 1_000 });

/** How often. Milliseconds. */
export const ROTATE_EVERY_MS = 60_000;

/** The handler. */
export function createRotateKeys(rotation: Pick<KeyRotation, "turn">): JobHandler<z.infer<typeof Payload>> {
  return async (_payload, { logger }) => {
    const steps = await rotation.turn();
    if (steps.length > 0) logger.info({ steps }, "the signing keys have moved on");
  };
}
