/**
 * A device's copy of a person's state, as plain data: what it has pulled, and its own changes that the server has not
 * settled or that have not come back yet. Every function of this package takes one and returns the next; none does IO.
 * Whoever owns the copy stores each next one, in one write, before they act on it: then it survives any crash.
 */
import type { EntryMessage, OpMessage, RejectReason } from "@continuo/merge/protocol";
import type { Instant, Json } from "@continuo/merge";

export interface Replica {
  /** A UUID, made once and kept with the queue; another one after the server has forgotten it (`forgotten`). */
  readonly clientId: string;
  readonly deviceId: string;
  /** Null before the first batch. */
  readonly epoch: string | null;
  /** The place up to which everything is in `entries`; null before the first batch. */
  readonly cursor: string | null;
  /** The same place as a revision: what this device has seen. */
  readonly rev: number;
  /** By `unitId`. Tombstones stay: later changes merge into them. */
  readonly entries: ReadonlyMap<string, Entry>;
  /** Own changes in the order in which they were made. */
  readonly queue: readonly Queued[];
  /** The last seq that was given to a change. */
  readonly sealedSeq: number;
  /** The last own seq whose effect is in `entries`. */
  readonly revealedSeq: number;
  /** The stamp of the last own change. */
  readonly lastStamp: Instant | null;
  /** How far the server's clock is before this device's, as it was last heard. Milliseconds. */
  readonly clockError: number;
  /** Pages that wait for the last one. */
  readonly staged: Staged | null;
  /** Changes that the server refused for good, until the application has looked at them. */
  readonly rejected: readonly Rejected[];
}

/** One unit as it stands, its state as its kind has it. */
export interface Entry extends EntryMessage {
  readonly state: Json;
}

/** Names a unit. */
export interface Unit {
  readonly namespace: string;
  readonly key: string;
  readonly field: string;
}

/** An own change. It gets its seq when it is first sent, and then is sent as it is. */
export interface Queued extends Omit<OpMessage, "seq"> {
  readonly seq: number | null;
  /**
   * The revision that holds its effect, once the server has answered it; null before. It stays until that has come back, so
   * that what is shown never jumps.
   */
  readonly settledRev: number | null;
}

export interface Rejected {
  readonly op: Queued;
  /** UNCERTAIN: whether it was counted before the server forgot this device cannot be known. */
  readonly reason: RejectReason | "UNCERTAIN";
  readonly message: string;
}

interface Staged {
  /** Whether they take the place of all that is there. */
  readonly reset: boolean;
  readonly to: string;
  readonly entries: readonly Entry[];
}

/** A new, empty copy. Both ids are UUIDs; `clientId` must be a fresh one. */
export function createReplica({ clientId, deviceId }: { clientId: string; deviceId: string }): Replica {
  return {
    clientId,
    deviceId,
    epoch: null,
    cursor: null,
    rev: 0,
    entries: new Map(),
    queue: [],
    sealedSeq: 0,
    revealedSeq: 0,
    lastStamp: null,
    clockError: 0,
    staged: null,
    rejected: [],
  };
}

/** Names a unit within one person's state. */
export function unitId({ namespace, key, field }: Unit): string {
  return JSON.stringify([namespace, key, field]);
}
