/**
 * A device's copy of a person's state, as plain data: what it has pulled, and its own changes that are not settled or
 * have not come back yet. Every function of this package takes a replica and returns the next one; none does IO. The
 * caller stores each new replica in one write before acting on it, so that it survives any crash.
 */
import type { EntryMessage, OpMessage, RejectReason } from "@continuo/merge/protocol";
import type { Instant, Json } from "@continuo/merge";

export interface Replica {
  /** A UUID, created once and kept with the queue; replaced after the server has forgotten it (`forgotten`). */
  readonly clientId: string;
  readonly deviceId: string;
  /** Null before the first batch. */
  readonly epoch: string | null;
  /** The position up to which `entries` is complete; null before the first batch. */
  readonly cursor: string | null;
  /** The same position as a revision: what this device has seen. */
  readonly rev: number;
  /** By `unitId`. Tombstones are kept: later changes merge into them. */
  readonly entries: ReadonlyMap<string, Entry>;
  /** The device's own changes, in the order they were made. */
  readonly queue: readonly Queued[];
  /** The last seq assigned to a change. */
  readonly sealedSeq: number;
  /** The last seq of its own whose effect is in `entries`. */
  readonly revealedSeq: number;
  /** The stamp of the last own change. */
  readonly lastStamp: Instant | null;
  /** How far the server's clock is ahead of this device's, as last observed, in milliseconds. */
  readonly clockError: number;
  /** Pages received but not shown until the last one arrives. */
  readonly staged: Staged | null;
  /** Changes that the server rejected for good, kept until the application has looked at them. */
  readonly rejected: readonly Rejected[];
}

/** The current state of one unit. */
export interface Entry extends EntryMessage {
  readonly state: Json;
}

/** Identifies a unit. */
export interface Unit {
  readonly namespace: string;
  readonly key: string;
  readonly field: string;
}

/** A change made on this device. It gets its seq when it is first sent, and is immutable from then on. */
export interface Queued extends Omit<OpMessage, "seq"> {
  readonly seq: number | null;
  /**
   * The revision that contains its effect, once the server has answered; null before. The change stays queued until it
   * has come back in a batch, so that the displayed value never jumps.
   */
  readonly settledRev: number | null;
}

export interface Rejected {
  readonly op: Queued;
  /** UNCERTAIN: nobody can know whether the change was counted before the server forgot this device. */
  readonly reason: RejectReason | "UNCERTAIN";
  readonly message: string;
}

interface Staged {
  /** Whether the pages replace all existing entries. */
  readonly reset: boolean;
  readonly to: string;
  readonly entries: readonly Entry[];
}

/** Creates an empty replica. Both ids are UUIDs; `clientId` must be new. */
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

/** Returns the identifier of a unit within one person's state. */
export function unitId({ namespace, key, field }: Unit): string {
  return JSON.stringify([namespace, key, field]);
}
