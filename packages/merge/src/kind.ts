/**
 * A kind defines how one unit (a field of a key) merges changes. Kinds are pure functions over plain JSON, run by the
 * server in revision order and by a replica for changes it has not sent yet. The namespace declares which kind a field
 * has.
 */
import { jsonBytes, type Json } from "./json.ts";
import type { Stamp } from "./stamp.ts";

/** Every kind there is. */
export const KIND_NAMES = [
  "REGISTER",
  "MAX",
  "MIN",
  "COUNTER",
  "SET",
  "MAP",
  "LIST",
  "PROGRESS",
  "DRAFT",
  "TEXT",
  "OPAQUE",
] as const;
export type KindName = (typeof KIND_NAMES)[number];

/**
 * Which report wins when devices disagree about progress: the latest action (the default), the furthest position, or
 * the person's choice.
 */
export type ResumePolicy = "LATEST_INTENT" | "FURTHEST" | "ASK";

/** Everything `apply` may use besides the state and the op. */
export interface Context {
  /** The effective stamp, including the author's replica. */
  readonly stamp: Stamp;
  /** The stamp that the author claims to have seen; null when there was nothing to see. */
  readonly seen: Omit<Stamp, "clientId"> | null;
  /** The author's device; a device may have several replicas. */
  readonly deviceId: string;
  /** The author had seen every revision up to this one when they made the change. */
  readonly baseRev: number;
  /** The revision that the change gets if it has an effect. */
  readonly rev: number;
}

/** One write of a value. A deletion is a write too, with a null value. */
export interface Write {
  readonly value: Json;
  readonly deleted: boolean;
  readonly stamp: Stamp;
}

/** A write that lost although either its author or the winning write's author did not know of the other write. */
export interface Loser extends Write {
  /** The member, element or field it was for; null where a unit holds one value. */
  readonly name: string | null;
}

/** Why a well-formed op is rejected: the current state does not allow it. */
export const APPLY_REJECT_REASONS = [
  "STATE_TOO_LARGE",
  "COUNTER_OVERFLOW",
  "GENERATION_UNKNOWN",
  "UPDATE_INVALID",
] as const;
export type ApplyRejectReason = (typeof APPLY_REJECT_REASONS)[number];

/**
 * The outcome of an op. `state` is the same object exactly when nothing changed.
 * APPLIED: the change stands as requested. MERGED: it was merged, but another change stands. NOOP: there was nothing to
 * change. SUPERSEDED: it came after something that invalidated it. REJECTED: refused.
 */
export type Applied<State> =
  | {
      readonly outcome: "APPLIED" | "MERGED" | "NOOP" | "SUPERSEDED";
      readonly state: State;
      readonly losers: readonly Loser[];
    }
  | {
      readonly outcome: "REJECTED";
      readonly state: State;
      readonly losers: readonly [];
      readonly reason: ApplyRejectReason;
    };

/**
 * A kind. When looked up by name in a registry it accepts any JSON, but the payload must have passed `parsePayload`
 * (`@continuo/merge/protocol`) and the state must come from the same kind.
 */
export interface Kind<State = Json, Payload = unknown, View = Json> {
  readonly name: KindName;
  /** The state of a unit that was never written. */
  readonly initial: State;
  /** No state is larger, in bytes of UTF-8 as JSON. */
  readonly maxStateBytes: number;
  apply(state: State, payload: Payload, context: Context): Applied<State>;
  /** What clients show; undefined when the unit was deleted or never written. Only PROGRESS uses `policy`. */
  view(state: State, policy?: ResumePolicy): View | undefined;
  /** The stamps of the writes that the op meets: the `standing` input of its effective stamp. */
  standing(state: State, payload: Payload, deviceId: string): readonly Stamp[];
  /**
   * Forgets what only replicas behind `stableRev` could still need; returns the same object when there is nothing to
   * forget. Absent for kinds that remember nothing of this sort.
   */
  prune?(state: State, stableRev: number): State;
  /**
   * Joins two independent states of one unit; returns `state` itself when `other` adds nothing. Idempotent and
   * commutative. What only one side removed stays, because the other side never learned of the removal. Of two
   * counters, the one further from zero is kept, because their common part cannot be told apart.
   */
  join(state: State, other: State): State;
  /** Shifts every revision in the state by `by`, into another commit order. Absent: the state contains no revisions. */
  rebase?(state: State, by: number): State;
  /**
   * What remains of an expired unit: none of its content, only what keeps old changes from reappearing, as if somebody
   * who had seen all of it had deleted it. Idempotent. Absent: `initial`.
   */
  expire?(state: State): State;
}

/** The state of an expired unit: see `Kind.expire`. */
export function expire<State, Payload, View>(kind: Kind<State, Payload, View>, state: State): State {
  return kind.expire === undefined ? kind.initial : kind.expire(state);
}

/** Whether the author of a change had seen a write: they had read its revision, or wrote it themselves. */
export function hasSeen(context: Context, write: { readonly stamp: Stamp; readonly rev: number }): boolean {
  return write.rev <= context.baseRev || write.stamp.clientId === context.stamp.clientId;
}

/**
 * The largest state of the collection kinds. Changes that would grow beyond it are rejected; changes that shrink are
 * not.
 */
export const MAX_COLLECTION_BYTES = 256 * 1024;

/**
 * Returns `next`, or a rejection if its state grew beyond the limit. Near the limit, arrival order decides what still
 * fits.
 */
export function withinBytes<State extends Json>(state: State, next: Applied<State>): Applied<State> {
  const bytes = jsonBytes(next.state);
  if (bytes <= MAX_COLLECTION_BYTES || bytes <= jsonBytes(state)) return next;
  return { outcome: "REJECTED", state, losers: [], reason: "STATE_TOO_LARGE" };
}
