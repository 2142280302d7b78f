/**
 * Settles the ops of one push against the current state. Pure, so that the database and the simulation share it. Each
 * change gets its own revision: a page of one row then never splits a revision, and of two changes to one unit the
 * later stays. Replicas still see a push as a whole, because they reveal pages together.
 */
import { AppError } from "@continuo/errors";
import { applyOp, effectiveStamp, type Json, type KindName, type Loser, type Stamp } from "@continuo/merge";
import { isErased, mayMeetForgotten, meetsNothing, stateOfNothing, typeOf } from "./fence.ts";
import type { Fault, ValidOp } from "./op.ts";
import {
  MAX_REPLICAS,
  type Answer,
  type Before,
  type Change,
  type Outcome,
  type Push,
  type Relayed,
  type Settlement,
  type StopReason,
} from "./push.ts";
import { grown, growthOf, fitsQuota, fitsStorage, remaining, storable, tighter, type Usage } from "./quota.ts";
import { bytesOf, isShown, kindNamed, textStateOf, unitId, type Amount, type Unit } from "./unit.ts";

/**
 * The limit on text characters that one push may load: changing a text loads it completely, and blocks everyone else
 * meanwhile. Far above all but the largest texts; the remaining ops come with the next push.
 */
const MAX_TEXT_CHARACTERS = 4 * 1024 * 1024;
/** The limit on current values returned with one push's outcomes: the answer must fit its transport. */
const MAX_TOLD_BYTES = 4 * 1024 * 1024;

/**
 * Settles ops in order; `quota` is the user's. Throws CONFLICT: EPOCH_CHANGED, CLIENT_OF_OTHER_DEVICE, CLIENT_UNKNOWN,
 * TOO_MANY_CLIENTS.
 */
export function settle(push: Push, deviceId: string, before: Before, quota: Amount): Settlement {
  admit(push, deviceId, before);
  const changes = new Map<string, Change>();
  const answers = new Map<number, Answer>();
  const outcomes: Outcome[] = [];
  const relayed: Relayed[] = [];
  let { rev, serverNow, usage } = before;
  let lastSeq = before.client?.lastSeq ?? 0;
  let stop: StopReason | null = null;
  let textCharacters = 0;
  let toldBytes = 0;
  const faults: unknown[] = [];

  for (const validated of push.ops) {
    const { op } = validated;
    if (op.seq <= lastSeq) {
      outcomes.push(duplicate(op.seq, answers.get(op.seq) ?? before.answers.get(op.seq)));
      continue;
    }
    if (op.seq > lastSeq + 1) {
      stop = "GAP";
      break;
    }
    const id = unitId(op);
    const found = changes.get(id) ?? before.units.get(id);
    if (found?.kind === "TEXT") textCharacters += found.bytes;
    if (textCharacters > MAX_TEXT_CHARACTERS || toldBytes > MAX_TOLD_BYTES) {
      stop = "RETRY";
      break;
    }
    let standing = found;
    let verdict: Verdict;
    try {
      if (found !== undefined && !("fault" in validated)) standing = validated.lift(found);
      verdict =
        "fault" in validated
          ? refuse(validated.fault)
          : settleOp(validated, standing, { push, deviceId, before, rev, usage, quota });
    } catch (cause) {
      // A retry would fail in the same way and block every op behind it.
      faults.push(cause);
      standing = undefined;
      verdict = refuse({ reason: "UNIT_BROKEN", message: "What stands here cannot be read: a fault of ours." });
    }
    lastSeq = op.seq;
    const { status, stamp, fault, losers = [], change } = verdict;
    if (change !== undefined) {
      ({ rev } = change);
      usage = verdict.usage ?? usage;
      serverNow = Math.max(serverNow, change.ms);
      changes.set(id, change);
    }
    if (verdict.relayed !== undefined) relayed.push(verdict.relayed);
    const stands = change ?? standing;
    const told = status === "APPLIED" ? undefined : stands;
    toldBytes += told?.bytes ?? 0;
    const answer = { seq: op.seq, rev: stands?.rev ?? null };
    if (status !== "APPLIED") answers.set(op.seq, { ...answer, status, fault });
    outcomes.push({
      ...answer,
      status,
      stamp: stamp ?? null,
      reason: fault?.reason ?? null,
      message: fault?.message ?? null,
      standing: told === undefined ? null : { ...told, namespace: op.namespace },
      losers,
      first: null,
    });
  }
  return {
    outcomes,
    lastSeq,
    rev,
    serverNow,
    stop,
    faults,
    changes: [...changes.values()],
    relayed,
    answers: [...answers.values()],
    usage,
    quotaRemaining: push.ops.reduce(
      (left, validated) =>
        "fault" in validated || validated.persistence === "RELAY"
          ? left
          : tighter(left, remaining(usage, validated.op.namespace, { user: quota, namespace: validated.quota })),
      {
        entries: quota.entries - usage.entries,
        bytes: Math.min(quota.bytes - usage.bytes, storable(usage, quota)),
      },
    ),
  };
}

function admit(push: Push, deviceId: string, before: Before): void {
  const { epoch, client, clientsPrunedBefore, siblings } = before;
  if (push.epoch !== epoch)
    throw new AppError("CONFLICT", "EPOCH_CHANGED", "This epoch is over: pull from the start.", { details: { epoch } });
  if (client !== undefined && client.deviceId !== deviceId)
    throw new AppError(
      "CONFLICT",
      "CLIENT_OF_OTHER_DEVICE",
      "This clientId belongs to another device: take a new one.",
    );
  const firstSeq = push.ops[0]?.op.seq ?? 1;
  const isNew = (client?.lastSeq ?? 0) === 0;
  if (isNew && (firstSeq > 1 || mayHaveCounted(push, before)))
    throw new AppError(
      "CONFLICT",
      "CLIENT_UNKNOWN",
      "The server has no changes from this clientId: start over with a new one.",
      {
        details: { clientsPrunedBefore },
      },
    );
  if (siblings >= MAX_REPLICAS)
    throw new AppError(
      "CONFLICT",
      "TOO_MANY_CLIENTS",
      `This device has ${MAX_REPLICAS} replicas: go on under a clientId that it has.`,
    );
}

/**
 * Whether an unknown replica may be a forgotten one about to count again what it counted before: its first push looks
 * like a new replica's. Repeating ops of other kinds has no further effect.
 */
function mayHaveCounted({ ops, clientNow }: Push, { clientsPrunedBefore, serverNow }: Before): boolean {
  if (clientsPrunedBefore === null) return false;
  return ops.some((validated) => {
    if ("fault" in validated || validated.kind !== "COUNTER") return false;
    return serverNow - (clientNow - validated.op.stamp.ms) < clientsPrunedBefore.getTime();
  });
}

interface Verdict {
  readonly status: Exclude<Outcome["status"], "DUPLICATE">;
  readonly stamp?: Stamp;
  readonly fault?: Fault;
  readonly losers?: readonly Loser[];
  readonly change?: Change;
  /** The usage after the change. */
  readonly usage?: Usage;
  readonly relayed?: Relayed;
}

function refuse(fault: Fault): Verdict {
  return { status: "REJECTED", fault };
}

const MESSAGES = {
  STATE_TOO_LARGE: "This unit is full: remove something from it first.",
  COUNTER_OVERFLOW: "Beyond this a counter is not exact.",
  GENERATION_UNKNOWN: "There is no such generation yet: a generation ends by an op of its own.",
  UPDATE_INVALID: "This is no update of the text that stands, or it builds on one that is missing.",
};

function settleOp(
  sound: ValidOp,
  standing: Unit | Change | undefined,
  where: { push: Push; deviceId: string; before: Before; rev: number; usage: Usage; quota: Amount },
): Verdict {
  const { op, payload } = sound;
  const { push, deviceId, before, usage } = where;
  if (sound.persistence === "RELAY") return relay(sound, push, before);
  if (isErased(op, before)) return refuse({ reason: "GONE", message: "What this was made upon has been erased." });
  if (standing !== undefined && standing.kind !== sound.kind)
    return refuse({ reason: "KIND_CHANGED", message: `What stands here was written as ${standing.kind}.` });

  const kind = kindNamed(sound.kind);
  const state = standing?.state ?? stateOfNothing(sound, before);
  const rev = where.rev + 1;
  const { clientId, clientNow } = push;
  const applied = applyOp(
    kind,
    state,
    { payload, stamp: op.stamp, seen: op.seen, baseRev: op.baseRev },
    { clientId, deviceId, clientNow, serverNow: before.serverNow, rev },
  );
  const { stamp, outcome, losers } = applied;
  if (meetsNothing(sound, standing) && mayMeetForgotten(sound, stamp, before)) {
    if (typeOf(payload) === "DELETE") return { status: "NOOP", stamp };
    return refuse({ reason: "GONE", message: "This was deleted so long ago that the deletion is forgotten." });
  }
  if (applied.outcome === "REJECTED") return refuse({ reason: applied.reason, message: MESSAGES[applied.reason] });
  if (applied.state === state) return { status: outcome, stamp, losers };

  const after = { kind: sound.kind, state: applied.state };
  const deleted = !isShown(after);
  const change: Change = {
    namespace: op.namespace,
    key: op.key,
    field: op.field,
    ...after,
    rev,
    schemaVersion: op.schemaVersion,
    bytes: bytesOf(after, op),
    deleted,
    ms: stamp.ms,
    expiresAt: sound.ttlSeconds === null ? null : before.serverNow + sound.ttlSeconds * 1000,
    removedMs: remembersRemoval(after, deleted) ? Math.min(standing?.removedMs ?? stamp.ms, stamp.ms) : null,
    appended: appendedTo(standing, after, rev),
  };
  const left = remaining(usage, op.namespace, { user: where.quota, namespace: sound.quota });
  const growth = growthOf(op, standing, change);
  if (!fitsQuota(standing, change, growth, left))
    return refuse({
      reason: "OVER_QUOTA",
      message: `Of the quota ${Math.max(0, left.entries)} entries and ${Math.max(0, left.bytes)} bytes are left.`,
    });
  if (!fitsStorage(growth, storable(usage, where.quota)))
    return refuse({
      reason: "OVER_QUOTA",
      message: "Too much is remembered of what was deleted and of what lost: it is forgotten in time.",
    });
  return { status: outcome, stamp, losers, change, usage: grown(usage, op.namespace, growth) };
}

/** A relayed op meets no state and is not stored. */
function relay({ op, kind, payload }: ValidOp, { clientId, clientNow }: Push, { serverNow }: Before): Verdict {
  const stamp = effectiveStamp({ ...op.stamp, clientId }, { clientNow, serverNow, seen: null, standing: [] });
  const { namespace, key, field, schemaVersion } = op;
  return { status: "APPLIED", stamp, relayed: { namespace, key, field, kind, payload, stamp, schemaVersion } };
}

/** Whether the state holds something that may be forgotten once every replica has seen it. */
function remembersRemoval({ kind, state }: { kind: KindName; state: Json }, deleted: boolean): boolean {
  const forgotten = kindNamed(kind).prune?.(state, Number.MAX_SAFE_INTEGER) ?? state;
  return deleted || forgotten !== state;
}

/** The updates still to be stored, when everything they build on is stored. */
function appendedTo(
  standing: Unit | Change | undefined,
  after: { kind: KindName; state: Json },
  rev: number,
): Change["appended"] {
  if (after.kind !== "TEXT" || standing === undefined) return null;
  const stored = "appended" in standing ? standing.appended : [];
  const [old, grown] = [textStateOf(standing.state), textStateOf(after.state)];
  const update = grown.updates.at(-1);
  const isSame = old.generation === grown.generation && old.document === grown.document;
  return isSame && stored !== null && update !== undefined ? [...stored, { rev, update }] : null;
}

/** The outcome of a repeated op. */
function duplicate(seq: number, first: Answer | undefined): Outcome {
  return {
    seq,
    status: "DUPLICATE",
    rev: first?.rev ?? null,
    stamp: null,
    reason: null,
    message: null,
    standing: null,
    losers: [],
    first: first ?? null,
  };
}
