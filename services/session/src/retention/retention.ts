/** What is deleted, and when. */

export interface RetentionStore {
  /** Deletes what is past its retention, in small batches; returns the number of deleted rows per kind. */
  forget(now: Date): Promise<Readonly<Record<string, number>>>;
}

const DAY_MS = 24 * 3_600_000;

/** How long each kind is kept after its own end, in milliseconds. */
export const RETENTION_MS = {
  /** After the grant's expiry, to tolerate clock differences. */
  redeemedGrants: 5 * 60_000,
  /** After the assertion's expiry, likewise. */
  usedClientAssertions: 5 * 60_000,
  revocations: 30 * DAY_MS,
  endedSessions: 90 * DAY_MS,
  /** Since its last use; not while one of its sessions is kept. */
  devices: 400 * DAY_MS,
  /** Since the hand-over to the queue. */
  outbox: DAY_MS,
  /** Since it was last heard of. */
  gatewayReplicas: DAY_MS,
  /** From the front of each user's chain; the database itself refuses to delete any younger than a year. */
  authEvents: 400 * DAY_MS,
} as const;
