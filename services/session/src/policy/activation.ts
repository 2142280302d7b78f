/**
 * How an application's policy changes: a draft is tried on the real sessions, then activated, and governs from then on.
 * Activation flips the active version, which governs new sessions at once, and then moves the live sessions in batches.
 * It may be interrupted anywhere: sessions still behind are recognised by their policy version.
 */
import { AppError } from "@continuo/errors";
import type { Logged, RevocationAnnouncer } from "../revocation/revocation.ts";
import { applicationNotFound, type Policy, type PolicyRules, type PolicyVersion } from "./policy.ts";

/** Why an activation ends a session. */
export type ActivationEnd = "IDLE" | "ABSOLUTE" | "EVICTED";

/** A figure before and after the activation. */
export interface Change {
  readonly from: number;
  readonly to: number;
}

/** What activating some rules would do at this moment. */
export interface Forecast {
  readonly applicationId: string;
  readonly at: Date;
  /** Live sessions, and how many people they belong to. */
  readonly sessions: number;
  readonly users: number;
  /** Sessions that would end at once, by reason, and how many people would lose one. */
  readonly ends: Readonly<Record<ActivationEnd, number>>;
  readonly usersSignedOut: number;
  /** Sessions that would remain but be refused until their owner steps up: with a stronger sign-in or with a key. */
  readonly needStepUp: number;
  /** Seconds until sessions end if nothing else happens; null when there is none. */
  readonly remainingSeconds: { readonly median: Change; readonly p95: Change } | null;
}

/** What one batch did. */
export interface Batch {
  /** Users processed; 0 when no session is left behind. */
  readonly users: number;
  /** Sessions that live on under the active version. */
  readonly moved: number;
  readonly ended: Readonly<Record<ActivationEnd, number>>;
  /** Null when nothing was ended. */
  readonly logged: Logged | null;
  readonly changed: readonly { userId: string; deviceRev: number }[];
}

/** What an activation has done so far. */
export type Progress = Pick<Batch, "users" | "moved" | "ended">;

/** The outcome of a flip: done, nothing to do, or not possible. */
export type Flip = "ACTIVATED" | "ALREADY_ACTIVE" | "RETIRED" | "NO_SUCH_VERSION" | "NO_SUCH_APPLICATION";

export interface ActivationStore {
  /** All versions, newest first; without `applicationId`, of every application. */
  list(applicationId?: string): Promise<PolicyVersion[]>;
  /**
   * Writes a draft under a new version number, replacing the previous draft; undefined when there is no such
   * application.
   */
  draft(applicationId: string, rules: PolicyRules): Promise<Policy | undefined>;
  /** Reads only, from one snapshot; undefined when there is no such application. */
  forecast(applicationId: string, rules: PolicyRules | Policy, now: Date): Promise<Forecast | undefined>;
  flip(applicationId: string, version: number, now: Date): Promise<Flip>;
  /** Moves some of the sessions that are behind the active version, in one transaction. */
  move(applicationId: string, now: Date, sessions: number): Promise<Batch>;
  /** The applications that have a live session behind the active version. */
  behind(now: Date): Promise<string[]>;
}

/** How a caller observes and stops an activation. */
export interface Watch {
  /** Once aborted, the batch under way is the last. */
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: (sofar: Progress) => void;
}

/** Drafts, dry runs and activations. */
export interface Activation {
  list(applicationId?: string): Promise<PolicyVersion[]>;
  /** Throws NOT_FOUND/POLICY_NOT_FOUND. */
  version(applicationId: string, version: number): Promise<PolicyVersion>;
  /** Throws NOT_FOUND/APPLICATION_NOT_FOUND. */
  draft(applicationId: string, rules: PolicyRules): Promise<Policy>;
  /** The dry run: writes nothing. Throws NOT_FOUND/APPLICATION_NOT_FOUND. */
  tryPolicy(applicationId: string, rules: PolicyRules | Policy): Promise<Forecast>;
  /**
   * Activates a draft and moves all live sessions to it; for a version that is already active, finishes an interrupted
   * move.
   * Throws NOT_FOUND: APPLICATION_NOT_FOUND, POLICY_NOT_FOUND; CONFLICT/POLICY_RETIRED.
   */
  activate(applicationId: string, version: number, watch?: Watch): Promise<Progress>;
  /**
   * Moves all sessions that are behind, in every application; returns what was done for each application that had any.
   */
  finish(signal?: AbortSignal): Promise<ReadonlyMap<string, Progress>>;
}

const SESSIONS_AT_ONCE = 100;

/** Wires the use cases. */
export function createActivation(options: {
  store: ActivationStore;
  announce: RevocationAnnouncer;
  now: () => Date;
}): Activation {
  const { store, announce, now } = options;

  async function moveAll(applicationId: string, { signal, onProgress }: Watch): Promise<Progress> {
    let sofar: Progress = { users: 0, moved: 0, ended: { IDLE: 0, ABSOLUTE: 0, EVICTED: 0 } };
    for (;;) {
      if (signal?.aborted) return sofar;
      const batch = await store.move(applicationId, now(), SESSIONS_AT_ONCE);
      if (batch.users === 0) return sofar;
      await Promise.all([
        batch.logged && announce.revoked(batch.logged),
        ...batch.changed.map(({ userId, deviceRev }) => announce.devicesChanged(userId, deviceRev)),
      ]);
      sofar = sum(sofar, batch);
      onProgress?.(sofar);
    }
  }

  return {
    list: (applicationId) => store.list(applicationId),
    async version(applicationId, version) {
      const found = (await store.list(applicationId)).find((each) => each.version === version);
      if (found === undefined) throw policyNotFound();
      return found;
    },
    async draft(applicationId, rules) {
      const policy = await store.draft(applicationId, rules);
      if (policy === undefined) throw applicationNotFound();
      return policy;
    },
    async tryPolicy(applicationId, rules) {
      const forecast = await store.forecast(applicationId, rules, now());
      if (forecast === undefined) throw applicationNotFound();
      return forecast;
    },
    async activate(applicationId, version, watch = {}) {
      switch (await store.flip(applicationId, version, now())) {
        case "NO_SUCH_APPLICATION":
          throw applicationNotFound();
        case "NO_SUCH_VERSION":
          throw policyNotFound();
        case "RETIRED":
          throw policyRetired();
        case "ACTIVATED":
        case "ALREADY_ACTIVE":
          return moveAll(applicationId, watch);
      }
    },
    async finish(signal) {
      const done = new Map<string, Progress>();
      for (const applicationId of await store.behind(now()))
        done.set(applicationId, await moveAll(applicationId, { signal }));
      return done;
    },
  };
}

/** CONFLICT/POLICY_RETIRED. */
export const policyRetired = (): AppError =>
  new AppError("CONFLICT", "POLICY_RETIRED", "This version was in force before: draft it anew.");

const policyNotFound = (): AppError =>
  new AppError("NOT_FOUND", "POLICY_NOT_FOUND", "There is no such version: a draft that was replaced is gone.");

function sum(one: Progress, two: Progress): Progress {
  return {
    users: one.users + two.users,
    moved: one.moved + two.moved,
    ended: {
      IDLE: one.ended.IDLE + two.ended.IDLE,
      ABSOLUTE: one.ended.ABSOLUTE + two.ended.ABSOLUTE,
      EVICTED: one.ended.EVICTED + two.ended.EVICTED,
    },
  };
}
