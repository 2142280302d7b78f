/**
 * Fences: a replica that missed a deletion or an erasure cannot bring back what was deleted and forgotten, or erased.
 * Pure, and decided from the op and a few numbers alone.
 */
import type { Json, Stamp } from "@continuo/merge";
import type { ValidOp } from "./op.ts";
import { kindNamed, KINDS_THAT_STAY, KINDS_WITH_GENERATIONS, type Unit } from "./unit.ts";

/** Tombstones younger than this are never pruned, so only older changes can meet a pruned one. */
export const TOMBSTONE_LIFE_MS = 90 * 24 * 3_600_000;

/** What is gone from a person's state. */
export interface Forgotten {
  /** Deletions up to this revision may be forgotten. */
  readonly prunedRev: number;
  /** The revision of the last erasure of each namespace; `*` for that of all namespaces. */
  readonly erased: Readonly<Record<string, number>>;
  /** The server's clock in milliseconds since the epoch, monotonic. */
  readonly serverNow: number;
}

/**
 * The state of a missing unit. An up-to-date replica may know of a unit that has been forgotten since: it continues in
 * the generation that it knows.
 */
export function stateOfNothing({ kind, payload }: ValidOp, { prunedRev }: Forgotten): Json {
  const { initial } = kindNamed(kind);
  const generation = generationOf(payload);
  const isKnown = prunedRev > 0 && generation > 0;
  return isKnown && (kind === "DRAFT" || kind === "TEXT") && isObject(initial) ? { ...initial, generation } : initial;
}

/** Whether an op finds nothing where a forgotten removal may have been: no unit, or no such member. */
export function meetsNothing({ kind, payload }: ValidOp, standing: Unit | undefined): boolean {
  if (standing === undefined) return true;
  return (
    kind === "MAP" && typeOf(payload) === "SET" && kindNamed(kind).standing(standing.state, payload, "").length === 0
  );
}

/**
 * The write fence: whether this change might have lost to a removal that has been forgotten. By time, a change younger
 * than any forgotten removal would have won, so forgetting does not affect it. Generations do not go by time: an author
 * who knew of a generation but has not read its end is too late.
 */
export function mayMeetForgotten(
  { kind, payload, op }: ValidOp,
  stamp: Stamp,
  { prunedRev, serverNow }: Forgotten,
): boolean {
  if (prunedRev === 0 || KINDS_THAT_STAY.includes(kind)) return false;
  const knew = op.seen !== null || generationOf(payload) > 0;
  const isBehind = op.baseRev < prunedRev;
  const isOld = stamp.ms <= serverNow - TOMBSTONE_LIFE_MS;
  return isOld ? op.seen !== null || isBehind : KINDS_WITH_GENERATIONS.includes(kind) && knew && isBehind;
}

/** Whether the author had not read of an erasure. Not decided by time, so no clock can bring anything back. */
export function isErased({ namespace, baseRev }: ValidOp["op"], { erased }: Forgotten): boolean {
  return baseRev < Math.max(erased["*"] ?? 0, (Object.hasOwn(erased, namespace) ? erased[namespace] : 0) ?? 0);
}

/** The payload's type. */
export function typeOf(payload: Json): Json | undefined {
  return isObject(payload) ? payload["type"] : undefined;
}

/** The generation of a draft or text, or the epoch of a progress, that an op addresses. */
function generationOf(payload: Json): number {
  const generation = isObject(payload) ? (payload["generation"] ?? payload["epoch"]) : undefined;
  return typeof generation === "number" ? generation : 0;
}

function isObject(value: Json): value is { readonly [name: string]: Json } {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
