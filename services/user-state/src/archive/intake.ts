/**
 * Imports an archive: each unit is joined with the current one by its kind, as the independent states of two replicas.
 * The revisions of its own history are shifted beyond everything that replicas here have seen. Importing twice has the
 * same effect as once. Outcomes, replicas and activities belong to devices and a moment, and are left out.
 */
import { AppError } from "@continuo/errors";
import { expire, type Json } from "@continuo/merge";
import { isName } from "../entry/op.ts";
import { grown, growthOf, fitsQuota, fitsStorage, remaining, storable, type Usage } from "../entry/quota.ts";
import {
  bytesOf,
  isShown,
  kindNamed,
  KINDS_THAT_STAY,
  unitId,
  viewOf,
  type Amount,
  type Unit,
  type UnitName,
} from "../entry/unit.ts";
import { isStored, kindOf, type Namespace, type Namespaces } from "../namespace/namespace.ts";
import { liftUnit } from "../namespace/versions.ts";
import type { ArchivedUnit, ArchiveHeader } from "./archive.ts";
import { isPlausible } from "./plausible.ts";

/** The current unit here. */
export interface StandingUnit extends Unit {
  readonly ms: number;
  readonly expiresAt: number | null;
}

/** What a batch of units meets, read under the lock of the user's head row. */
export interface Met {
  readonly epoch: string;
  readonly rev: number;
  /** The server's clock, milliseconds since the epoch. */
  readonly serverNow: number;
  readonly usage: Usage;
  /** By `unitId`. */
  readonly units: ReadonlyMap<string, StandingUnit>;
}

/** A unit to store. */
export interface TakenIn extends UnitName, StandingUnit {
  readonly deleted: boolean;
}

export interface Decision {
  readonly rev: number;
  /** The minimum; 0 leaves it unchanged. */
  readonly prunedRev: number;
  readonly usage: Usage;
  readonly changes: readonly TakenIn[];
}

export interface IntakeStore {
  /**
   * Runs one transaction under the lock of the user's head row (created with `newEpoch` if missing): reads, calls
   * `decide`, and stores unless `dryRun`.
   */
  take(
    request: { userId: string; newEpoch: string; units: readonly UnitName[]; dryRun: boolean },
    decide: (met: Met) => Decision,
  ): Promise<void>;
}

const REASONS = [
  "NAMESPACE_UNKNOWN",
  "NAMESPACE_NOT_STORED",
  "SCHEMA_VERSION_UNKNOWN",
  "KEY_INVALID",
  "FIELD_UNKNOWN",
  "KIND_CHANGED",
  "STATE_INVALID",
  "STATE_TOO_LARGE",
  "OVER_QUOTA",
] as const;
type Reason = (typeof REASONS)[number];

/** What became of the units of an archive. */
export interface IntakeCounts {
  /** Units that changed something. */
  readonly merged: number;
  /** Units whose content was already there. */
  readonly unchanged: number;
  /** Units that had expired. */
  readonly expired: number;
  readonly refused: number;
  readonly reasons: Readonly<Partial<Record<Reason, number>>>;
}

/** Small enough that a push waits only a moment for the lock. */
const BATCH = 200;

/**
 * Imports an inspected archive for `userId`, batch by batch; `signal` stops it between two. Resolves to what was done,
 * and whether that was everything. Throws BAD_USER_INPUT: ARCHIVE_FROM_FUTURE.
 */
export async function importArchive(
  options: { store: IntakeStore; namespaces: Namespaces; newEpoch: () => string; quota: Amount | undefined },
  request: {
    userId: string;
    header: ArchiveHeader;
    units: AsyncIterable<ArchivedUnit>;
    dryRun: boolean;
    signal: AbortSignal;
    progress: (done: number) => void;
  },
): Promise<{ counts: IntakeCounts; isComplete: boolean; rev: number }> {
  const { store, namespaces, newEpoch, quota } = options;
  const { userId, header, units, dryRun, signal, progress } = request;
  const counts = { merged: 0, unchanged: 0, expired: 0, refused: 0 };
  const reasons: Partial<Record<Reason, number>> = {};
  /** How far revisions are shifted; null when the archive is from this very history. */
  let shift: number | null | undefined;
  let rev = 0;
  let done = 0;
  /** In a dry run: the usage after the previous batches. */
  let usage: Usage | undefined;

  function decide(batch: readonly ArchivedUnit[], known: ReadonlyMap<string, Namespace>, met: Met): Decision {
    // Its content would win over everything written until then.
    if (header.at > met.serverNow)
      throw new AppError(
        "BAD_USER_INPUT",
        "ARCHIVE_FROM_FUTURE",
        `This file is of ${new Date(header.at).toISOString()}, which by the database's clock is still to come.`,
      );
    if (shift === undefined) {
      const isOfThisHistory = header.epoch === met.epoch && header.rev <= met.rev;
      shift = isOfThisHistory ? null : met.rev;
      rev = met.rev + (isOfThisHistory ? 0 : header.rev);
    }
    let held = (dryRun ? usage : undefined) ?? met.usage;
    const changes: TakenIn[] = [];
    if (shift === null) {
      // The current state already contains it, or it was removed since.
      counts.unchanged += batch.length;
      return { rev: met.rev, prunedRev: 0, usage: held, changes };
    }
    rev = Math.max(rev, met.rev);
    for (const unit of batch) {
      const namespace = known.get(unit.namespace);
      const standing = met.units.get(unitId(unit));
      const left =
        quota && namespace && remaining(held, unit.namespace, { user: quota, namespace: namespace.definition.quota });
      const joined = join(unit, standing, { namespace, header, shift, rev: rev + 1, serverNow: met.serverNow });
      const growth = growthOf(unit, standing, "change" in joined ? joined.change : standing);
      const fits = (change: TakenIn): boolean =>
        quota === undefined ||
        left === undefined ||
        (fitsQuota(standing, change, growth, left) && fitsStorage(growth, storable(held, quota)));
      const isTooMuch = "change" in joined && !fits(joined.change);
      const taken: Taken = isTooMuch ? { reason: "OVER_QUOTA" } : joined;
      if ("change" in taken) {
        counts.merged += 1;
        rev += 1;
        held = grown(held, unit.namespace, growth);
        changes.push(taken.change);
      } else if ("reason" in taken) {
        counts.refused += 1;
        reasons[taken.reason] = (reasons[taken.reason] ?? 0) + 1;
      } else counts[taken.result] += 1;
    }
    usage = held;
    return { rev, prunedRev: header.prunedRev === 0 ? 0 : shift + header.prunedRev, usage: held, changes };
  }

  async function takeBatch(batch: readonly ArchivedUnit[]): Promise<void> {
    const known = await namespaces.find(batch.map(({ namespace }) => namespace));
    await store.take({ userId, newEpoch: newEpoch(), units: batch, dryRun }, (met) => decide(batch, known, met));
    done += batch.length;
    progress(done);
  }

  let batch: ArchivedUnit[] = [];
  for await (const unit of units) {
    batch.push(unit);
    if (batch.length < BATCH) continue;
    if (signal.aborted) break;
    await takeBatch(batch);
    batch = [];
  }
  const isComplete = !signal.aborted;
  if (isComplete && batch.length > 0) await takeBatch(batch);
  return { counts: { ...counts, reasons }, isComplete, rev };
}

type Taken = { readonly change: TakenIn } | { readonly result: "unchanged" | "expired" } | { readonly reason: Reason };

function join(
  unit: ArchivedUnit,
  standing: StandingUnit | undefined,
  where: {
    namespace: Namespace | undefined;
    header: ArchiveHeader;
    shift: number;
    rev: number;
    serverNow: number;
  },
): Taken {
  const { namespace, header, shift, rev, serverNow } = where;
  const { key, field, kind: kindName, schemaVersion } = unit;
  if (namespace === undefined) return { reason: "NAMESPACE_UNKNOWN" };
  if (!isStored(namespace)) return { reason: "NAMESPACE_NOT_STORED" };
  if (schemaVersion > namespace.version) return { reason: "SCHEMA_VERSION_UNKNOWN" };
  if (!isName(key)) return { reason: "KEY_INVALID" };
  const shown = isName(field) ? liftUnit(namespace, unit)?.field : undefined;
  if (shown === undefined) return { reason: "FIELD_UNKNOWN" };
  if (kindOf(namespace, shown) !== kindName || (standing !== undefined && standing.kind !== kindName))
    return { reason: "KIND_CHANGED" };
  if (!isPlausible(kindName, unit.state, header)) return { reason: "STATE_INVALID" };
  const { ttlSeconds } = namespace.definition;
  const latest = serverNow + (ttlSeconds ?? 0) * 1000;
  const until = ttlSeconds === null ? null : Math.min(unit.expiresAt ?? latest, latest);
  if (until !== null && until <= serverNow && standing === undefined) return { result: "expired" };

  const kind = kindNamed(kindName);
  const [version, stands, comes] = sameVersion(namespace, unit, standing);
  /** The state, or what remains of it if it has expired, here or in the archive. */
  const leftOf = (held: Json, expiresAt: number | null): Json =>
    expiresAt !== null && expiresAt <= serverNow ? expire(kind, held) : held;
  let state: Json;
  let deleted: boolean;
  try {
    const here = stands && leftOf(stands, standing?.expiresAt ?? null);
    const there = leftOf(comes, until);
    const rebased = kind.rebase?.(there, shift) ?? there;
    state = here === undefined ? rebased : kind.join(here, rebased);
    if (state === here) return { result: "unchanged" };
    viewOf({ kind: kindName, state });
    deleted = !isShown({ kind: kindName, state });
  } catch {
    return { reason: "STATE_INVALID" };
  }
  if (deleted && KINDS_THAT_STAY.includes(kindName)) return { result: "expired" };
  const bytes = bytesOf({ kind: kindName, state }, unit);
  if (bytes > kind.maxStateBytes + Buffer.byteLength(key) + Buffer.byteLength(field))
    return { reason: "STATE_TOO_LARGE" };
  const removals = [standing?.removedMs, unit.removedMs].filter((ms) => ms !== null && ms !== undefined);
  const ms = Math.max(standing?.ms ?? 0, Math.min(unit.ms, serverNow));
  return {
    change: {
      namespace: unit.namespace,
      key,
      field,
      kind: kindName,
      state,
      deleted,
      rev,
      schemaVersion: version,
      bytes,
      ms,
      removedMs: removals.length > 0 ? Math.min(...removals, serverNow) : deleted ? ms : null,
      expiresAt: until === null ? null : Math.max(until, standing?.expiresAt ?? 0),
    },
  };
}

/** Brings both states to one version: their own if it is the same, otherwise the newest. */
function sameVersion(
  namespace: Namespace,
  unit: ArchivedUnit,
  standing: StandingUnit | undefined,
): [version: number, standing: Json | undefined, unit: Json] {
  if (standing === undefined || standing.schemaVersion === unit.schemaVersion)
    return [unit.schemaVersion, standing?.state, unit.state];
  const lifted = (state: Json, schemaVersion: number): Json =>
    liftUnit(namespace, { field: unit.field, state, schemaVersion })?.state ?? state;
  return [namespace.version, lifted(standing.state, standing.schemaVersion), lifted(unit.state, unit.schemaVersion)];
}
