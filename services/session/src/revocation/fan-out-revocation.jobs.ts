/** After a sign-out: who else is told, devices, webhooks and applications. Not the revocation itself, which needs no job to hold. */
import { defineJob, type JobHandler } from "@continuo/signals";
import { z } from "zod";
import type { RevocationAnnouncer } from "./revocation.ts";

const Payload = z.object({ seq: z.number().int().positive() });

/** Written to the outbox with each revocation. */
export const fanOutRevocation = defineJob({
  name: "fan-out-revocation",
  schema: Payload,
  attempts: 8,
  backoffMs: 1_000,
});

export interface FanOutStore {
  /**
   * Notes one delivery for each other device of the user that is signed in, and posts one for each webhook and
   * application to be told, in one statement; those noted before stay. `posted` counts the latter.
   * Returns the user concerned and their device revision, or undefined when the revocation is gone or nobody's.
   */
  deliver(
    seq: number,
    now: Date,
  ): Promise<{ userId: string; deviceRev: number; delivered: number; posted: number } | undefined>;
}

/** The handler: idempotent by the revocation's place in the log. */
export function createFanOut(options: {
  store: FanOutStore;
  announce: Pick<RevocationAnnouncer, "devicesChanged"> & { posted(): Promise<void> };
  now: () => Date;
}): JobHandler<z.infer<typeof Payload>> {
  const { store, announce, now } = options;
  return async ({ seq }, { logger }) => {
    const told = await store.deliver(seq, now());
    if (told === undefined) return;
    const { userId, deviceRev, delivered, posted } = told;
    logger.info({ seq, delivered, posted }, "a revocation is told to the other devices, and posted to other systems");
    await announce.devicesChanged(userId, deviceRev);
    if (posted > 0) await announce.posted();
  };
}
