/** What is forgotten, and when. */

export interface RetentionStore {
  /** Deletes what is past its time, in small batches; returns how many rows of each went. */
  forget(now: Date): Promise<Readonly<Record<string, number>>>;
}

const DAY_MS = 24 * 3_600_000;

/** How long each is kept, in milliseconds, counted from its own end. */
export const RETENTION_MS = {
  /** Past the grant's own expiry, for clocks that disagree. */
  redeemedGrants: 5 * 60_000,
  /** Past its last moment, likewise. */
  usedClientAssertions: 5 * 60_000,
  revocations: 30 * DAY_MS,
  endedSessions: 90 * DAY_MS,
  /** Since somebody last used it; not while a session on it is kept. */
  devices: 400 * DAY_MS,
  /** Since the hand-over to the queue. */
  outbox: DAY_MS,
  /** Since it was last heard of. */
  gatewayReplicas: DAY_MS,
  /** From the front of each user's chain; the database itself keeps them for a year at least. */
  authEvents: 400 * DAY_MS,
} as const;
