/**
 * Revocation by an operator: ends every live session that a filter matches, in batches that commit one by one. It can
 * be interrupted at any point and restarted, as ended sessions no longer match.
 */
import { z } from "zod";
import type { Session } from "../session/session.ts";
import type { Logged, RevocationAnnouncer } from "./revocation.ts";

/** ISO 8601; a date alone means midnight UTC. With laxer formats, a typing error could mean another year. */
const moment = z.union([z.date(), z.union([z.iso.datetime({ offset: true }), z.iso.date()]).pipe(z.coerce.date())]);

/** Conditions on live sessions; all that are given must hold. */
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
    /** As stored with a session: /24 or /48. */
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

/** Which live sessions to end; at least one condition, so that an empty filter never ends all. */
export const SessionFilter = SessionConditions.refine(
  (filter) => Object.values(filter).some((value) => value !== undefined),
  "name at least one condition",
);
export type SessionFilter = z.infer<typeof SessionFilter>;

/** The result of one batch. */
export interface Batch {
  /** Null when nothing was ended. */
  readonly logged: Logged | null;
  readonly found: number;
  readonly ended: number;
  readonly users: readonly { userId: string; deviceRev: number }[];
}

/** What a filter matches. */
export interface Count {
  readonly sessions: number;
  readonly users: number;
  /** Sessions per application. */
  readonly applications: Readonly<Record<string, number>>;
}

export interface RevokeWhereStore {
  /** Up to `limit` matching sessions, most recently active first. */
  list(filter: SessionFilter, limit: number, now: Date): Promise<Session[]>;
  /** Writes nothing. */
  count(filter: SessionFilter, now: Date): Promise<Count>;
  /** Ends up to `count` matching sessions that had started by `begunAt`, with one log row per affected user. */
  revoke(filter: SessionFilter, count: number, begunAt: Date, now: Date): Promise<Batch>;
}

/** The total result. `lastSeq` is its highest `seq` in the log; null when there was nothing to end. */
export interface RevokedWhere {
  readonly sessionsEnded: number;
  readonly usersConcerned: number;
  readonly lastSeq: number | null;
  /** False when `signal` stopped it early. */
  readonly isComplete: boolean;
}

/** Small enough that others do not wait long for the head of the log, and gateways learn of each batch at once. */
const BATCH = 100;

/**
 * Wires the use case. Calls `progress` after each batch with the number ended so far; `signal` stops it after a batch.
 * Sessions that start meanwhile are left alone, so it terminates however many do.
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
