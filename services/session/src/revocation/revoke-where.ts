/**
 * Revocation by an operator: every live session that a filter names, in batches, each a commit of its own. It may die at
 * any point and be started again: what has ended is not found any more.
 */
import { z } from "zod";
import type { RevocationAnnouncer } from "./revocation.ts";

const moment = z.coerce.date();

/** Which live sessions; at least one condition, and all that are given must hold. */
export const SessionFilter = z
  .strictObject({
    userId: z.uuid().optional(),
    sessionId: z.uuid().optional(),
    deviceId: z.uuid().optional(),
    applicationId: z.string().min(1).max(128).optional(),
    /** ISO 3166-1 alpha-2. */
    country: z
      .string()
      .regex(/^[A-Z]{2}$/)
      .optional(),
    /** As it is kept with a session: /24 or /48. */
    ipPrefix: z.string().min(1).max(64).optional(),
    startedBefore: moment.optional(),
    lastActiveBefore: moment.optional(),
    /** Sessions weaker than this authentication context class. */
    acrBelow: z.enum(["aal2", "aal3"]).optional(),
    /** Sessions under an older version of their application's policy. */
    policyVersionBelow: z.coerce.number().int().positive().optional(),
  })
  .refine((filter) => Object.values(filter).some((value) => value !== undefined), "name at least one condition");
export type SessionFilter = z.infer<typeof SessionFilter>;

/** What one batch has ended. */
export interface Batch {
  /** The newest place in the log; null when nothing was ended. */
  readonly seq: number | null;
  readonly found: number;
  readonly ended: number;
  readonly users: readonly { userId: string; deviceRev: number }[];
}

export interface RevokeWhereStore {
  /** How many live sessions of how many users the filter names; writes nothing. */
  count(filter: SessionFilter, now: Date): Promise<{ sessions: number; users: number }>;
  /** Ends up to `outboxIds.length` of them, with a row in the log for each user concerned. */
  revoke(filter: SessionFilter, outboxIds: readonly string[], now: Date): Promise<Batch>;
}

/** What came of it. `lastSeq` is the newest place in the log; null when nothing was there to end. */
export interface RevokedWhere {
  readonly sessionsEnded: number;
  readonly usersConcerned: number;
  readonly lastSeq: number | null;
}

const BATCH = 500;

/** Wires it; `progress` is called after each batch with what has ended so far. */
export function createRevokeWhere(options: {
  store: RevokeWhereStore;
  announce: RevocationAnnouncer;
  createId: () => string;
  now: () => Date;
}): (filter: SessionFilter, progress?: (ended: number) => void) => Promise<RevokedWhere> {
  const { store, announce, createId, now } = options;

  return async (filter, progress) => {
    const users = new Set<string>();
    let sessionsEnded = 0;
    let lastSeq: number | null = null;
    for (;;) {
      const outboxIds = Array.from({ length: BATCH }, () => createId());
      const batch = await store.revoke(filter, outboxIds, now());
      if (batch.seq !== null) {
        lastSeq = batch.seq;
        await announce.revoked(batch.seq);
        await Promise.all(batch.users.map(({ userId, deviceRev }) => announce.devicesChanged(userId, deviceRev)));
      }
      sessionsEnded += batch.ended;
      for (const { userId } of batch.users) users.add(userId);
      progress?.(sessionsEnded);
      if (batch.found === 0) return { sessionsEnded, usersConcerned: users.size, lastSeq };
    }
  };
}
