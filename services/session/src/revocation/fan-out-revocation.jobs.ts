/**
 * Notifies the user's devices, webhooks and applications after a sign-out. The revocation itself needs no job to take
 * effect.
 */
import { defineJob, type JobHandler } from "@continuo/signals";
import { z } from "zod";
import type { RevocationAnnouncer } from "./revocation.ts";

const Payload = z.object({ seqs: z.array(z.number().int().positive()).min(1) });

/** Written to the outbox in the statement that revokes, if there is anybody to notify. */
export const fanOutRevocation = defineJob({
  name: "fan-out-revocation",
  schema: Payload,
  attempts: 8,
  backoffMs: 1_000,
  merge: (payloads) => ({ seqs: payloads.flatMap(({ seqs }) => seqs) }),
});

/** SQL expression: the payload for the revocations `seqs`, a jsonb array. */
export const fanOutPayload = (seqs: string): string => `jsonb_build_object('seqs', ${seqs})`;

/**
 * SQL condition: some webhook or application is notified of revocations. If none is, nothing is posted and `told_at` is
 * set at once.
 */
export const ANYBODY_TOLD = `
  (EXISTS (SELECT FROM session.webhooks WHERE disabled_at IS NULL)
   OR EXISTS (SELECT FROM session.applications WHERE backchannel_logout_uri IS NOT NULL))`;

/** A revocation that has been fanned out. */
export interface Told {
  readonly seq: number;
  readonly userId: string;
  readonly deviceRev: number;
  readonly posted: number;
}

export interface FanOutStore {
  /**
   * Posts a delivery for each webhook and application to notify, in one statement. Deliveries posted before stay, and
   * `posted` does not count them. Skips revocations that have been deleted or belong to no user.
   */
  deliver(seqs: readonly number[], now: Date): Promise<readonly Told[]>;
}

/** The handler: idempotent by the revocations' `seq`. */
export function createFanOut(options: {
  store: FanOutStore;
  announce: Pick<RevocationAnnouncer, "devicesChanged"> & { posted(): Promise<void> };
  now: () => Date;
}): JobHandler<z.infer<typeof Payload>> {
  const { store, announce, now } = options;
  return async ({ seqs }, { logger }) => {
    const told = await store.deliver(seqs, now());
    for (const { seq, posted } of told) logger.info({ seq, posted }, "a revocation is posted to other systems");
    await Promise.all(told.map(({ userId, deviceRev }) => announce.devicesChanged(userId, deviceRev)));
    if (told.some(({ posted }) => posted > 0)) await announce.posted();
  };
}
