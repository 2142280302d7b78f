/**
 * Settles the ops of one push against what stands: pure, so that the database and a simulation do the same.
 * Each change gets a revision of its own: a page of one row then never splits a revision, and a unit that a push
 * changes twice keeps the later. Replicas see a push whole all the same, because they reveal pages together.
 */
import { AppError } from "@continuo/errors";
import type { Json, Stamp } from "@continuo/merge";
import type { Fault, JudgedOp, Op, SoundOp } from "./op.ts";
import { applyToUnit, type Unit } from "./unit.ts";

/** One push, as a replica sends it. */
export interface Push {
  readonly clientId: string;
  readonly epoch: string;
  /** Milliseconds since the epoch, by the replica's clock. */
  readonly clientNow: number;
  readonly baseRev: number;
  readonly ops: readonly JudgedOp[];
}

/** A unit as it is stored. */
export interface Standing {
  readonly unit: Unit;
  readonly rev: number;
  readonly bytes: number;
  readonly bySeq: number;
  readonly schemaVersion: number;
}

/** A first answer that a repeated op gets again; none is kept for APPLIED. */
export interface Answer {
  readonly seq: number;
  readonly status: "MERGED" | "NOOP" | "REJECTED";
  readonly fault?: Fault | undefined;
  readonly rev: number | null;
}

/** What a push meets, read under the lock of the user's head row. */
export interface Before {
  readonly epoch: string;
  readonly rev: number;
  readonly prunedRev: number;
  readonly clientsPrunedBefore: Date | null;
  /** The server's clock, milliseconds since the epoch; it never goes back. */
  readonly serverNow: number;
  /** Undefined for a replica that never pushed or acknowledged. */
  readonly client: { readonly deviceId: string; readonly lastSeq: number } | undefined;
  /** By `unitId`. */
  readonly units: ReadonlyMap<string, Standing>;
  /** By seq. */
  readonly answers: ReadonlyMap<number, Answer>;
}

export interface Outcome {
  readonly seq: number;
  readonly status: "APPLIED" | "MERGED" | "NOOP" | "DUPLICATE" | "REJECTED";
  readonly rev: number | null;
  readonly stamp: Stamp | null;
  readonly reason: string | null;
  readonly message: string | null;
  readonly current: Json;
}

/** A unit to store. */
interface Change extends Standing {
  readonly op: Op;
}

export interface Settlement {
  readonly outcomes: readonly Outcome[];
  readonly lastSeq: number;
  readonly rev: number;
  readonly serverNow: number;
  readonly stop: "GAP" | null;
  readonly changes: readonly Change[];
  readonly answers: readonly Answer[];
  /** How many live entries and bytes there are more. */
  readonly growth: { readonly entries: number; readonly bytes: number };
}

/** Tombstones younger than this are never pruned, so only older changes can meet a pruned one. */
export const TOMBSTONE_LIFE_MS = 90 * 24 * 3_600_000;

/** Names a unit within one user. */
export function unitId({ namespace, key, field }: Pick<Op, "namespace" | "key" | "field">): string {
  return JSON.stringify([namespace, key, field]);
}

/** Settles in order. Throws CONFLICT: EPOCH_CHANGED, CLIENT_OF_OTHER_DEVICE, CLIENT_UNKNOWN. */
export function settle(push: Push, deviceId: string, before: Before): Settlement {
  admit(push, deviceId, before);
  const changes = new Map<string, Change>();
  const answers = new Map<number, Answer>();
  const outcomes: Outcome[] = [];
  let { rev, serverNow } = before;
  let lastSeq = before.client?.lastSeq ?? 0;
  let stop: "GAP" | null = null;

  for (const judged of push.ops) {
    const { op } = judged;
    if (op.seq <= lastSeq) {
      outcomes.push(duplicate(op.seq, answers.get(op.seq) ?? before.answers.get(op.seq)));
      continue;
    }
    if (op.seq > lastSeq + 1) {
      stop = "GAP";
      break;
    }
    lastSeq = op.seq;
    const id = unitId(op);
    const standing = changes.get(id) ?? before.units.get(id);
    const verdict = "fault" in judged ? reject(judged.fault) : settleOp(judged, standing, { push, deviceId, before });
    if (verdict.status === "APPLIED") rev += 1;
    const changeRev = verdict.status === "APPLIED" ? rev : (standing?.rev ?? null);
    if (verdict.change !== undefined && changeRev !== null) {
      changes.set(id, { ...verdict.change, rev: changeRev, op });
      serverNow = Math.max(serverNow, verdict.change.unit.standing.stamp.ms);
    }
    if (verdict.status !== "APPLIED")
      answers.set(op.seq, { seq: op.seq, status: verdict.status, fault: verdict.fault, rev: changeRev });
    outcomes.push({
      seq: op.seq,
      status: verdict.status,
      rev: changeRev,
      stamp: verdict.stamp ?? null,
      reason: verdict.fault?.reason ?? null,
      message: verdict.fault?.message ?? null,
      current: verdict.status === "MERGED" && standing !== undefined ? standing.unit.standing.value : null,
    });
  }
  return {
    outcomes,
    lastSeq,
    rev,
    serverNow,
    stop,
    changes: [...changes.values()],
    answers: [...answers.values()],
    growth: growthOf(changes, before.units),
  };
}

function admit(push: Push, deviceId: string, { epoch, client, clientsPrunedBefore }: Before): void {
  if (push.epoch !== epoch)
    throw new AppError("CONFLICT", "EPOCH_CHANGED", "This epoch is over: pull from the start.", { details: { epoch } });
  if (client !== undefined && client.deviceId !== deviceId)
    throw new AppError(
      "CONFLICT",
      "CLIENT_OF_OTHER_DEVICE",
      "This clientId belongs to another device: take a new one.",
    );
  const firstSeq = push.ops[0]?.op.seq ?? 1;
  if ((client?.lastSeq ?? 0) === 0 && firstSeq > 1)
    throw new AppError("CONFLICT", "CLIENT_UNKNOWN", "No change of this clientId is known: take a new one.", {
      details: { clientsPrunedBefore },
    });
}

interface Verdict {
  readonly status: "APPLIED" | "MERGED" | "NOOP" | "REJECTED";
  readonly stamp?: Stamp;
  readonly fault?: Fault;
  readonly change?: Omit<Change, "rev" | "op">;
}

function reject(fault: Fault): Verdict {
  return { status: "REJECTED", fault };
}

function settleOp(
  sound: SoundOp,
  standing: Standing | undefined,
  where: { push: Push; deviceId: string; before: Before },
): Verdict {
  const { op, kind, value } = sound;
  const { push, deviceId, before } = where;
  const current = standing?.unit;
  if (current !== undefined && current.kind !== kind)
    return reject({ reason: "KIND_CHANGED", message: `What stands here was written as ${current.kind}.` });
  const deleted = op.op === "DELETE";
  const { outcome, stamp, unit } = applyToUnit(
    current,
    { kind, value, deleted, stamp: op.stamp, seen: op.seen ?? null, baseRev: push.baseRev },
    { clientId: push.clientId, deviceId, clientNow: push.clientNow, serverNow: before.serverNow, rev: before.rev + 1 },
  );
  if (current === undefined && mayMeetPruned(op, stamp, push, before)) {
    if (deleted) return { status: "NOOP", stamp };
    return reject({ reason: "GONE", message: "This was deleted so long ago that the deletion is forgotten." });
  }
  if (outcome === "APPLIED") {
    const { bytes } = sound;
    return { status: outcome, stamp, change: { unit, bytes, bySeq: op.seq, schemaVersion: op.schemaVersion } };
  }
  if (standing === undefined || unit === current) return { status: outcome, stamp };
  return { status: outcome, stamp, change: { ...standing, unit } };
}

/**
 * The write fence: had its tombstone not been pruned, this change might have lost against it. A change younger than any
 * pruned tombstone would have won, so pruning stays invisible to it.
 */
function mayMeetPruned(op: Op, stamp: Stamp, push: Push, { prunedRev, serverNow }: Before): boolean {
  const old = stamp.ms <= serverNow - TOMBSTONE_LIFE_MS;
  return prunedRev > 0 && old && (op.seen !== undefined || push.baseRev < prunedRev);
}

/** The answer to a repeated op: `reason` says what became of it, unless it was applied. */
function duplicate(seq: number, answer: Answer | undefined): Outcome {
  const reason = answer === undefined ? null : (answer.fault?.reason ?? answer.status);
  const message = answer?.fault?.message ?? null;
  return { seq, status: "DUPLICATE", rev: answer?.rev ?? null, stamp: null, reason, message, current: null };
}

function growthOf(changes: ReadonlyMap<string, Change>, before: ReadonlyMap<string, Standing>): Settlement["growth"] {
  let entries = 0;
  let bytes = 0;
  for (const [id, change] of changes) {
    const old = before.get(id);
    entries += liveCount(change) - liveCount(old);
    bytes += change.bytes - (old?.bytes ?? 0);
  }
  return { entries, bytes };
}

function liveCount(standing: Standing | undefined): number {
  return standing === undefined || standing.unit.standing.deleted ? 0 : 1;
}
