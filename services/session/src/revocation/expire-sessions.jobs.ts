/**
 * Records what time has already decided: lapsed sessions become EXPIRED, with the same log and outbox rows as a
 * sign-out, so that sockets close and recipients are notified. It is never the authority: a lapsed session is refused
 * without it.
 */
import { defineJob, type JobHandler } from "@continuo/signals";
import { z } from "zod";
import type { Logged, RevocationAnnouncer } from "./revocation.ts";

const Payload = z.object({});

/** Runs on a schedule, one at a time for all workers. */
export const expireSessions = defineJob({ name: "expire-sessions", schema: Payload, attempts: 1, backoffMs: 1_000 });

/** How often. Milliseconds. */
export const EXPIRE_EVERY_MS = 5_000;

/** The result of one batch. */
export interface Expired {
  /** Lapsed sessions found. */
  readonly found: number;
  readonly ended: number;
  /** Null when nothing was ended. */
  readonly logged: Logged | null;
  readonly users: readonly { userId: string; deviceRev: number }[];
}

export interface ExpiryStore {
  /**
   * Ends up to `count` sessions whose deadline has passed, longest lapsed first. Skips users whose head is locked until
   * the next round.
   */
  expire(now: Date, count: number): Promise<Expired>;
}

const BATCH = 200;

/** The handler: runs batches until no lapsed session is left, or only ones of locked users. */
export function createExpireSessions(options: {
  store: ExpiryStore;
  announce: RevocationAnnouncer;
  now: () => Date;
}): JobHandler<z.infer<typeof Payload>> {
  const { store, announce, now } = options;
  return async (_payload, { signal, logger }) => {
    while (!signal.aborted) {
      const { found, ended, logged, users } = await store.expire(now(), BATCH);
      if (logged !== null) {
        logger.info({ ended }, "sessions have expired");
        await announce.revoked(logged);
        await Promise.all(users.map(({ userId, deviceRev }) => announce.devicesChanged(userId, deviceRev)));
      }
      if (found < BATCH || ended === 0) return;
    }
  };
}
