/** After a sign-out: who else is told, devices, webhooks and applications. Not the revocation itself, which needs no job to hold. */
import { defineJob, type JobHandler } from "@continuo/signals";
import { z } from "zod";
import type { RevocationAnnouncer } from "./revocation.ts";

const Payload = z.object({ seqs: z.array(z.number().int().positive()).min(1) });

/** Written to the outbox with the revocations of a statement, where anybody is to be told. */
export const fanOutRevocation = defineJob({
  name: "fan-out-revocation",
  schema: Payload,
  attempts: 8,
  backoffMs: 1_000,
  merge: (payloads) => ({ seqs: payloads.flatMap(({ seqs }) => seqs) }),
});

/** The payload for the revocations at `seqs`, a jsonb array, as an SQL expression. */
export const fanOutPayload = (seqs: string): string => `jsonb_build_object('seqs', ${seqs})`;

/** Whether anybody is told of revocations, as an SQL expression: else nothing is posted, and each is told with its commit. */
export const ANYBODY_TOLD = `
  (EXISTS (SELECT FROM session.webhooks WHERE disabled_at IS NULL)
   OR EXISTS (SELECT FROM session.applications WHERE backchannel_logout_uri IS NOT NULL))`;

/** A revocation that has been told. */
export interface Told {
  readonly seq: number;
  readonly userId: string;
  readonly deviceRev: number;
  readonly posted: number;
}

export interface FanOutStore {
  /**
   * Posts a delivery for each webhook and application to be told, in one statement for all of them; those posted before
   * stay, and `posted` does not count them. Revocations that are gone, or nobody's, are left out.
   */
  deliver(seqs: readonly number[], now: Date): Promise<readonly Told[]>;
}

/** The handler: idempotent by the revocations' places in the log. */
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
