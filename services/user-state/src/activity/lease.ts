/**
 * A lease says that one device is where somebody goes on with a unit. At most one device holds it; each new holder gets a
 * higher fence. Time ends a lease and loses nothing: the unit stays open to its fence until somebody else has a higher one.
 * Pure. What an older fence may still do to a unit is the kind's to say (`fenced` of `@continuo/merge`).
 */
import { fenced, KINDS } from "@continuo/merge";
import { STATES } from "@continuo/merge/protocol";
import type { KindName, State } from "@continuo/merge";
import { bytesOf, isShown, type Unit, type UnitName } from "../entry/unit.ts";

/** How long a lease lasts that is not renewed. Milliseconds. */
export const LEASE_MS = 45_000;
/** How long the device that held it has to send what it has. Milliseconds. */
export const FLUSH_MS = 800;

/** What the device that held a lease was asked for. */
export interface Flush {
  /** Of the lease for which it was asked. */
  readonly fence: number;
  readonly until: Date;
  /** When the device said that it has sent everything. */
  readonly doneAt: Date | null;
}

/** A device, and the last lease that it held on a unit. */
export interface Leased {
  readonly deviceId: string;
  readonly fence: number | null;
  readonly leaseUntil: Date | null;
  readonly flush: Flush | null;
}

export interface Lease {
  readonly fence: number;
  readonly state: "HELD" | "EXPIRED" | "FLUSH_REQUEST" | "LEASE_LOST";
  readonly expiresAt: Date;
}

/** The lease of a device, where `newestFence` is the highest of the unit. */
export function leaseOf(leased: Leased, newestFence: number, now: Date): Lease | null {
  const { fence, leaseUntil } = leased;
  if (fence === null || leaseUntil === null) return null;
  const isNewest = fence >= newestFence;
  const state = isNewest
    ? leaseUntil > now
      ? "HELD"
      : "EXPIRED"
    : isAsked(leased, now)
      ? "FLUSH_REQUEST"
      : "LEASE_LOST";
  return { fence, state, expiresAt: leaseUntil };
}

/** Whether its device is still expected to send what it has. */
export function isAsked({ flush }: Leased, now: Date): boolean {
  return flush !== null && flush.doneAt === null && flush.until > now;
}

/** Whoever has the highest fence. */
export function newestOf<Each extends Leased>(all: readonly Each[]): Each | undefined {
  return all.filter(({ fence }) => fence !== null).sort((one, other) => (other.fence ?? 0) - (one.fence ?? 0))[0];
}

/** Whether another device than this holds the lease now. */
export function isHeldElsewhere(newest: Leased | undefined, deviceId: string, now: Date): boolean {
  return newest !== undefined && newest.deviceId !== deviceId && newest.leaseUntil !== null && newest.leaseUntil > now;
}

/** Higher than any that was given, also than one that is forgotten and still stands in the unit. */
export function nextFence(newest: Leased | undefined, unit: Unit | undefined): number {
  const ofUnit = unit?.kind === "PROGRESS" ? progressOf(unit).fence : undefined;
  return Math.max(newest?.fence ?? 0, ofUnit ?? 0) + 1;
}

/** Whether a lease is still the last one, for all that the unit remembers: activities are forgotten before units are. */
export function isLast(lease: Leased, unit: Unit | undefined): boolean {
  return lease.fence === nextFence(lease, unit) - 1;
}

/** A unit as it is stored once it is closed; `kind` and `schemaVersion` are those that one gets which nobody has written. */
export interface Closing extends UnitName {
  readonly kind: KindName | undefined;
  readonly schemaVersion: number;
}

/**
 * Once nobody is asked any more for what it has, a unit is closed to all but the last fence, whatever was decided: so a
 * take-over that broke off in the middle is finished by whatever its devices say next. `closeTo` is null while there is
 * nothing to do, `late` are those who let their time pass and are to hear of it.
 */
export function closingOf<Each extends Leased>(
  all: readonly Each[],
  unit: Unit | undefined,
  name: Closing,
  now: Date,
): { readonly closeTo: number | null; readonly late: readonly Each[] } {
  const fence = newestOf(all)?.fence ?? 0;
  if (all.some((each) => isAsked(each, now)) || !isOpenBelow(fence, unit, name)) return { closeTo: null, late: [] };
  return { closeTo: fence, late: all.filter(({ flush }) => flush?.fence === fence && flush.doneAt === null) };
}

/** Whether what comes under a fence older than `fence` still moves a unit; nothing is older than the first. */
function isOpenBelow(fence: number, unit: Unit | undefined, name: Closing): boolean {
  const kind = unit?.kind ?? name.kind;
  return fence > 1 && kind === "PROGRESS" && fence > ((unit && progressOf(unit).fence) ?? 0);
}

/**
 * `unit` closed to fences older than `fence`, under the revision `rev`; undefined when there is nothing to change. One that
 * nobody has written becomes one that shows nothing, so that a late change does not find it open.
 */
export function closeUnit(
  unit: Unit | undefined,
  name: Closing,
  { fence, rev, now }: { fence: number; rev: number; now: Date },
): (Unit & { readonly deleted: boolean }) | undefined {
  const kind = unit?.kind ?? name.kind;
  if (kind !== "PROGRESS") return undefined;
  const before = unit === undefined ? KINDS.PROGRESS.initial : progressOf(unit);
  const state = fenced(before, fence);
  if (state === before) return undefined;
  const after = { kind, state };
  return {
    ...after,
    rev,
    schemaVersion: unit?.schemaVersion ?? name.schemaVersion,
    bytes: bytesOf(after, name),
    removedMs: unit === undefined ? now.getTime() : unit.removedMs,
    deleted: !isShown(after),
  };
}

export function progressOf({ state }: Pick<Unit, "state">): State<"PROGRESS"> {
  return STATES.PROGRESS.parse(state);
}
