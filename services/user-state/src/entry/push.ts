/** A push: what a replica asks for, what that meets, and what becomes of it. How, is `settle.ts`. */
import type { Json, KindName, Loser, Stamp } from "@continuo/merge";
import type { RejectReason } from "@continuo/merge/protocol";
import type { Forgotten } from "./fence.ts";
import type { Fault, JudgedOp } from "./op.ts";
import type { Usage } from "./quota.ts";
import type { Amount, Unit, UnitName } from "./unit.ts";

/** One push, as a replica sends it. */
export interface Push {
  readonly clientId: string;
  readonly epoch: string;
  /** Milliseconds since the epoch, by the replica's clock. */
  readonly clientNow: number;
  readonly baseRev: number;
  /** How many changes wait on the device behind these; undefined when it does not say. */
  readonly pending?: number | undefined;
  readonly ops: readonly JudgedOp[];
}

/** Of one device; those that are forgotten make room. Each is looked at whenever tombstones are. */
export const MAX_REPLICAS = 256;

/** A first answer that a repeated op gets again; none is kept for APPLIED. */
export interface Answer {
  readonly seq: number;
  readonly status: Exclude<Outcome["status"], "APPLIED" | "DUPLICATE">;
  readonly fault?: Fault | undefined;
  readonly rev: number | null;
}

/** What a push meets, as of one version of the user's head row. */
export interface Before extends Forgotten {
  readonly epoch: string;
  readonly rev: number;
  readonly clientsPrunedBefore: Date | null;
  readonly usage: Usage;
  /** Undefined for a replica that never pushed or acknowledged. */
  readonly client: { readonly deviceId: string; readonly lastSeq: number } | undefined;
  /** How many replicas its device has, where `client` is undefined; else 0. */
  readonly siblings: number;
  /** By `unitId`. */
  readonly units: ReadonlyMap<string, Unit>;
  /** By seq. */
  readonly answers: ReadonlyMap<number, Answer>;
}

export interface Outcome {
  readonly seq: number;
  readonly status: "APPLIED" | "MERGED" | "NOOP" | "SUPERSEDED" | "DUPLICATE" | "REJECTED";
  /** Of the unit as it stands now; null when nobody has written it. */
  readonly rev: number | null;
  readonly stamp: Stamp | null;
  readonly reason: RejectReason | null;
  readonly message: string | null;
  /** What stands instead; null when the change stands itself, or nothing. */
  readonly standing: (Pick<Unit, "kind" | "state"> & { readonly namespace: string }) | null;
  readonly losers: readonly Loser[];
  /** Of DUPLICATE: what it was answered first, if that is still known and was not APPLIED. */
  readonly first: Answer | null;
}

/** A unit to store. */
export interface Change extends UnitName, Unit {
  readonly deleted: boolean;
  /** When it was made, by its effective stamp. */
  readonly ms: number;
  /** When its time is up, by the server's clock, milliseconds since the epoch; null: never. */
  readonly expiresAt: number | null;
  /** Of a TEXT whose stored state stays as it is: the updates to add to it. Null: the state is to be stored. */
  readonly appended: readonly { readonly rev: number; readonly update: string }[] | null;
}

/** A change that stands nowhere: it goes to the devices that are there. */
export interface Relayed extends UnitName {
  readonly kind: KindName;
  readonly payload: Json;
  readonly stamp: Stamp;
  readonly schemaVersion: number;
}

/** GAP: a seq is missing. RETRY: the rest cannot be settled now; what was settled before stands. */
export type StopReason = "GAP" | "RETRY";

export interface Settlement {
  readonly outcomes: readonly Outcome[];
  readonly lastSeq: number;
  readonly rev: number;
  readonly serverNow: number;
  readonly stop: StopReason | null;
  /** What was thrown where a unit could not be computed: faults of ours. */
  readonly faults: readonly unknown[];
  readonly changes: readonly Change[];
  readonly relayed: readonly Relayed[];
  readonly answers: readonly Answer[];
  readonly usage: Usage;
  /** By the tightest quota that the push met. */
  readonly quotaRemaining: Amount;
}
