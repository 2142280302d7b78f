/** A push: what a replica requests, what that meets, and the outcome. `settle.ts` decides the outcome. */
import type { Json, KindName, Loser, Stamp } from "@continuo/merge";
import type { RejectReason } from "@continuo/merge/protocol";
import type { Forgotten } from "./fence.ts";
import type { Fault, ValidatedOp } from "./op.ts";
import type { Usage } from "./quota.ts";
import type { Amount, Unit, UnitName } from "./unit.ts";

/** One push, as a replica sends it. */
export interface Push {
  readonly clientId: string;
  readonly epoch: string;
  /** Milliseconds since the epoch, by the replica's clock. */
  readonly clientNow: number;
  readonly baseRev: number;
  /** How many more changes wait on the device; undefined when the client does not say. */
  readonly pending?: number | undefined;
  readonly ops: readonly ValidatedOp[];
}

/**
 * The maximum number of replicas per device; forgotten replicas make room. Pruning tombstones looks at each of them.
 */
export const MAX_REPLICAS = 256;

/** The original outcome that a repeated op gets again; not stored for APPLIED. */
export interface Answer {
  readonly seq: number;
  readonly status: Exclude<Outcome["status"], "APPLIED" | "DUPLICATE">;
  readonly fault?: Fault | undefined;
  readonly rev: number | null;
}

/** The state that a push meets, at one version of the user's head row. */
export interface Before extends Forgotten {
  readonly epoch: string;
  readonly rev: number;
  readonly clientsPrunedBefore: Date | null;
  readonly usage: Usage;
  /** Undefined for a replica that never pushed or acknowledged. */
  readonly client: { readonly deviceId: string; readonly lastSeq: number } | undefined;
  /** The number of the device's replicas when `client` is undefined; otherwise 0. */
  readonly siblings: number;
  /** By `unitId`. */
  readonly units: ReadonlyMap<string, Unit>;
  /** By seq. */
  readonly answers: ReadonlyMap<number, Answer>;
}

export interface Outcome {
  readonly seq: number;
  readonly status: "APPLIED" | "MERGED" | "NOOP" | "SUPERSEDED" | "DUPLICATE" | "REJECTED";
  /** The current revision of the unit; null when it was never written. */
  readonly rev: number | null;
  readonly stamp: Stamp | null;
  readonly reason: RejectReason | null;
  readonly message: string | null;
  /** The state that stands instead; null when the change itself stands, or nothing does. */
  readonly standing: (Pick<Unit, "kind" | "state"> & { readonly namespace: string }) | null;
  readonly losers: readonly Loser[];
  /** For DUPLICATE: the original outcome, if it is still known and was not APPLIED. */
  readonly first: Answer | null;
}

/** A unit to store. */
export interface Change extends UnitName, Unit {
  readonly deleted: boolean;
  /** When the change was made, by its effective stamp, in milliseconds since the epoch. */
  readonly ms: number;
  /** When it expires by the server's clock, in milliseconds since the epoch; null: never. */
  readonly expiresAt: number | null;
  /** For a TEXT whose stored state stays unchanged: the updates to append. Null: the state itself is stored. */
  readonly appended: readonly { readonly rev: number; readonly update: string }[] | null;
}

/** A change that is not stored, only relayed to connected devices. */
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
  /** The exceptions of units that could not be computed: server faults. */
  readonly faults: readonly unknown[];
  readonly changes: readonly Change[];
  readonly relayed: readonly Relayed[];
  readonly answers: readonly Answer[];
  readonly usage: Usage;
  /** The remaining quota, by the tightest one that the push met. */
  readonly quotaRemaining: Amount;
}
