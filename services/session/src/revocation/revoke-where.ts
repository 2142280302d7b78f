/**
 * Revocation by an operator: every live session that a filter names, in batches, each a commit of its own. It may die at
 * any point and be started again: what has ended is not found any more.
 */
import { z } from "zod";
import type { Session } from "../session/session.ts";
import type { Logged, RevocationAnnouncer } from "./revocation.ts";

/** ISO 8601: a date alone is its midnight in UTC. Laxer forms would let a typing error mean another year. */
const moment = z.union([z.date(), z.union([z.iso.datetime({ offset: true }), z.iso.date()]).pipe(z.coerce.date())]);

/** Which live sessions: all conditions that are given must hold. */
export const SessionConditions = z
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
    /** Sessions under an older version of the application's policy. */
    policyVersionBelow: z.coerce.number().int().positive().optional(),
  })
  .refine(
    ({ applicationId, policyVersionBelow }) => policyVersionBelow === undefined || applicationId !== undefined,
    "versions are those of an application's policy: name the application",
  );

/** Which live sessions to end: never all for want of a condition. */
export const SessionFilter = SessionConditions.refine(
  (filter) => Object.values(filter).some((value) => value !== undefined),
  "name at least one condition",
);
export type SessionFilter = z.infer<typeof SessionFilter>;

/** What one batch has ended. */
export interface Batch {
  /** Null when nothing was ended. */
  readonly logged: Logged | null;
  readonly found: number;
  readonly ended: number;
  readonly users: readonly { userId: string; deviceRev: number }[];
}

/** What a filter names. */
export interface Count {
  readonly sessions: number;
  readonly users: number;
  /** How many of them in each application. */
  readonly applications: Readonly<Record<string, number>>;
}

export interface RevokeWhereStore {
  /** Up to `limit` of them, the latest used first. */
  list(filter: SessionFilter, limit: number, now: Date): Promise<Session[]>;
  /** Writes nothing. */
  count(filter: SessionFilter, now: Date): Promise<Count>;
  /** Ends up to `count` of those that had started by `begunAt`, with a row in the log for each user concerned. */
  revoke(filter: SessionFilter, count: number, begunAt: Date, now: Date): Promise<Batch>;
}

/** What came of it. `lastSeq` is the newest place in the log; null when nothing was there to end. */
export interface RevokedWhere {
  readonly sessionsEnded: number;
  readonly usersConcerned: number;
  readonly lastSeq: number | null;
  /** False when it was told to stop before. */
  readonly isComplete: boolean;
}

/** Few enough that nobody waits long for the head of the log, and that gateways hear of each at once. */
const BATCH = 100;

/**
 * Wires it; `progress` is called after each batch with what has ended so far, `signal` stops it after a batch. Who signs
 * in while it works is not concerned: so it comes to an end, however many do.
 */
export function createRevokeWhere(options: {
  store: RevokeWhereStore;
  announce: RevocationAnnouncer;
  now: () => Date;
}): (
  filter: SessionFilter,
  options?: { progress?: (ended: number) => void; signal?: AbortSignal },
) => Promise<RevokedWhere> {
  const { store, announce, now } = options;

  return async (filter, { progress, signal } = {}) => {
    const begunAt = now();
    const users = new Set<string>();
    let sessionsEnded = 0;
    let lastSeq: number | null = null;
    for (;;) {
      const batch = await store.revoke(filter, BATCH, begunAt, now());
      if (batch.logged !== null) {
        lastSeq = batch.logged.seq;
        await announce.revoked(batch.logged);
        await Promise.all(batch.users.map(({ userId, deviceRev }) => announce.devicesChanged(userId, deviceRev)));
      }
      sessionsEnded += batch.ended;
      for (const { userId } of batch.users) users.add(userId);
      const isComplete = batch.found === 0;
      if (!isComplete) progress?.(sessionsEnded);
      if (isComplete || signal?.aborted) return { sessionsEnded, usersConcerned: users.size, lastSeq, isComplete };
    }
  };
}
