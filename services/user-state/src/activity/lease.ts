/**
 * A lease makes one device the place where the person continues a unit. At most one device holds it; each new holder
 * gets a higher fence. Expiry loses nothing: the unit stays open to the old fence until another device gets a higher
 * one. Pure. The kind decides what an older fence may still do to a unit (`fenced` of `@continuo/merge`).
 */
import { fenced, KINDS } from "@continuo/merge";
import { STATES } from "@continuo/merge/protocol";
import type { KindName, State } from "@continuo/merge";
import { bytesOf, isShown, type Unit, type UnitName } from "../entry/unit.ts";

/** How long a lease lasts without renewal, in milliseconds. */
export const LEASE_MS = 45_000;
/** How long the previous holder has to push its unsent changes, in milliseconds. */
export const FLUSH_MS = 800;

/** A request to the previous holder to push its unsent changes. */
export interface Flush {
  /** The fence of the lease it was asked for. */
  readonly fence: number;
  readonly until: Date;
  /** When the device confirmed that it has pushed everything. */
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

/** The lease of a device; `newestFence` is the unit's highest fence. */
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

/** Whether the device is still expected to push its unsent changes. */
export function isAsked({ flush }: Leased, now: Date): boolean {
  return flush !== null && flush.doneAt === null && flush.until > now;
}

/** The one with the highest fence. */
export function newestOf<Each extends Leased>(all: readonly Each[]): Each | undefined {
  return all.filter(({ fence }) => fence !== null).sort((one, other) => (other.fence ?? 0) - (one.fence ?? 0))[0];
}

/** Whether another device holds the lease now. */
export function isHeldElsewhere(newest: Leased | undefined, deviceId: string, now: Date): boolean {
  return newest !== undefined && newest.deviceId !== deviceId && newest.leaseUntil !== null && newest.leaseUntil > now;
}

/** A fence above all others, including that of a forgotten activity, which the unit still records. */
export function nextFence(newest: Leased | undefined, unit: Unit | undefined): number {
  const ofUnit = unit?.kind === "PROGRESS" ? progressOf(unit).fence : undefined;
  return Math.max(newest?.fence ?? 0, ofUnit ?? 0) + 1;
}

/** Whether a lease is still the latest, by what the unit records too: activities are forgotten before units are. */
export function isLast(lease: Leased, unit: Unit | undefined): boolean {
  return lease.fence === nextFence(lease, unit) - 1;
}

/** The unit to close; `kind` and `schemaVersion` are those of a new unit, if nobody has written it yet. */
export interface Closing extends UnitName {
  readonly kind: KindName | undefined;
  readonly schemaVersion: number;
}

/**
 * Decides whether to close a unit to all but the latest fence: as soon as no flush is pending, whatever the current
 * decision is about. So an interrupted take-over is finished by whatever its devices do next. `closeTo` is null when
 * there is nothing to do; `late` are the devices that missed their deadline and must be told.
 */
export function decideClosing<Each extends Leased>(
  all: readonly Each[],
  unit: Unit | undefined,
  name: Closing,
  now: Date,
): { readonly closeTo: number | null; readonly late: readonly Each[] } {
  const fence = newestOf(all)?.fence ?? 0;
  if (all.some((each) => isAsked(each, now)) || !isOpenBelow(fence, unit, name)) return { closeTo: null, late: [] };
  return { closeTo: fence, late: all.filter(({ flush }) => flush?.fence === fence && flush.doneAt === null) };
}

/** Whether reports under a fence older than `fence` still move the unit; no fence is older than the first. */
function isOpenBelow(fence: number, unit: Unit | undefined, name: Closing): boolean {
  const kind = unit?.kind ?? name.kind;
  return fence > 1 && kind === "PROGRESS" && fence > ((unit && progressOf(unit).fence) ?? 0);
}

/**
 * Returns `unit` closed to fences older than `fence`, at revision `rev`; undefined when there is nothing to change. A
 * unit that was never written is created without content, so that a late change does not find it open.
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
