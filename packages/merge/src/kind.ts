/**
 * What a kind is: how one unit (a field of a key) takes up changes. Pure functions over plain JSON, run by the server in
 * the order of revisions and by a replica for what it has not sent yet. Which kind a field has is the namespace's to say.
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
 * Whose word counts when devices disagree about progress: whoever acted last (unless said otherwise), whoever got
 * furthest, or the person, who is asked.
 */
export type ResumePolicy = "LATEST_INTENT" | "FURTHEST" | "ASK";

/** Everything that `apply` may know beside the state and the op. */
export interface Context {
  /** The effective stamp, with the replica that is the author. */
  readonly stamp: Stamp;
  /** The stamp that the author says to have seen; null when they saw nothing. */
  readonly seen: Omit<Stamp, "clientId"> | null;
  /** The author's device; a device may have several replicas. */
  readonly deviceId: string;
  /** The author had seen every revision up to this one when they made the change. */
  readonly baseRev: number;
  /** The revision that the change gets if it changes anything. */
  readonly rev: number;
}

/** One write of a value. A deletion is a write too, with a null value. */
export interface Write {
  readonly value: Json;
  readonly deleted: boolean;
  readonly stamp: Stamp;
}

/** A write that does not stand although its author, or the one it gave way to, did not know of the other. */
export interface Loser extends Write {
  /** The member, element or field it was for; null where a unit holds one value. */
  readonly name: string | null;
}

/** Why an op that is well formed is refused all the same: what stands does not allow it. */
export const APPLY_REJECT_REASONS = [
  "STATE_TOO_LARGE",
  "COUNTER_OVERFLOW",
  "GENERATION_UNKNOWN",
  "UPDATE_INVALID",
] as const;
export type ApplyRejectReason = (typeof APPLY_REJECT_REASONS)[number];

/**
 * What became of an op. `state` is the same object exactly when nothing changed.
 * APPLIED: it stands as asked. MERGED: it took part, but another change stands. NOOP: nothing to change. SUPERSEDED: it
 * came after something that it could not outlive. REJECTED: refused.
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
 * A kind. Called by name from a registry it takes any JSON; a payload must have passed `parsePayload`
 * (`@continuo/merge/protocol`) and a state must be one that the same kind made.
 */
export interface Kind<State = Json, Payload = unknown, View = Json> {
  readonly name: KindName;
  /** A unit that nobody has written. */
  readonly initial: State;
  /** No state is larger, in bytes of UTF-8 as JSON. */
  readonly maxStateBytes: number;
  apply(state: State, payload: Payload, context: Context): Applied<State>;
  /** What clients show; undefined when there is nothing, be it deleted or never written. `policy` is progress's alone. */
  view(state: State, policy?: ResumePolicy): View | undefined;
  /** The stamps of what the op would meet: `standing` of its effective stamp. */
  standing(state: State, payload: Payload, deviceId: string): readonly Stamp[];
  /**
   * Forgets what only replicas that have not seen `stableRev` could still ask for; the same object when there is
   * nothing to forget. Absent where a kind remembers no such thing.
   */
  prune?(state: State, stableRev: number): State;
  /**
   * Two states of one unit that do not know of each other, together: the same object as `state` when the other brings
   * nothing. Idempotent, and the same either way round. What only one of them removed stays, as the other never heard of
   * it; of two counts the one further from zero is taken, since what they have in common cannot be told apart.
   */
  join(state: State, other: State): State;
  /** The same with every revision in it moved by `by`, into another order of commits. Absent: there are none in it. */
  rebase?(state: State, by: number): State;
  /**
   * What is left of a unit whose time is up: nothing that anybody wrote, but what keeps the past from coming back, as if
   * somebody who had seen all of it had deleted it. The same again for what is left. Absent: `initial`.
   */
  expire?(state: State): State;
}

/** A unit whose time is up: see `Kind.expire`. */
export function expire<State, Payload, View>(kind: Kind<State, Payload, View>, state: State): State {
  return kind.expire === undefined ? kind.initial : kind.expire(state);
}

/** Whether the author of a change had seen a write: it was among what they had read, or it is their own. */
export function hasSeen(context: Context, write: { readonly stamp: Stamp; readonly rev: number }): boolean {
  return write.rev <= context.baseRev || write.stamp.clientId === context.stamp.clientId;
}

/** The largest state of the kinds that hold many things. What would grow beyond it is refused, what shrinks is not. */
export const MAX_COLLECTION_BYTES = 256 * 1024;

/** `next`, unless it outgrows the largest collection. There the order of arrival decides what still fits. */
export function withinBytes<State extends Json>(state: State, next: Applied<State>): Applied<State> {
  const bytes = jsonBytes(next.state);
  if (bytes <= MAX_COLLECTION_BYTES || bytes <= jsonBytes(state)) return next;
  return { outcome: "REJECTED", state, losers: [], reason: "STATE_TOO_LARGE" };
}
