/**
 * Fences: what was deleted and forgotten, or erased, does not come back by whoever had not heard of it. Pure, and told from
 * the op and a few numbers alone.
 */
import type { Json, Stamp } from "@continuo/merge";
import type { SoundOp } from "./op.ts";
import { kindNamed, KINDS_THAT_STAY, KINDS_WITH_GENERATIONS, type Unit } from "./unit.ts";

/** Tombstones younger than this are never pruned, so only older changes can meet a pruned one. */
export const TOMBSTONE_LIFE_MS = 90 * 24 * 3_600_000;

/** What is gone of somebody's state. */
export interface Forgotten {
  /** Deletions up to here may be forgotten. */
  readonly prunedRev: number;
  /** The revision of the last erasure by namespace; `*` for that of all of them. */
  readonly erased: Readonly<Record<string, number>>;
  /** The server's clock, milliseconds since the epoch; it never goes back. */
  readonly serverNow: number;
}

/**
 * Where nothing stands. A replica that has read all there is may know of a unit that was forgotten since: it goes on in
 * the generation that it knows.
 */
export function stateOfNothing({ kind, payload }: SoundOp, { prunedRev }: Forgotten): Json {
  const { initial } = kindNamed(kind);
  const generation = generationOf(payload);
  const isKnown = prunedRev > 0 && generation > 0;
  return isKnown && (kind === "DRAFT" || kind === "TEXT") && isObject(initial) ? { ...initial, generation } : initial;
}

/** Whether an op finds nothing where a forgotten removal may have been: no unit, or no such member. */
export function meetsNothing({ kind, payload }: SoundOp, standing: Unit | undefined): boolean {
  if (standing === undefined) return true;
  return (
    kind === "MAP" && typeOf(payload) === "SET" && kindNamed(kind).standing(standing.state, payload, "").length === 0
  );
}

/**
 * The write fence: had a removal not been forgotten, this change might have lost against it. By time, a change younger
 * than any forgotten removal would have won, so that forgetting is invisible to it. A generation does not go by time:
 * there, whoever has not read of its end, and knew of it, comes too late.
 */
export function mayMeetForgotten(
  { kind, payload, op }: SoundOp,
  stamp: Stamp,
  { prunedRev, serverNow }: Forgotten,
): boolean {
  if (prunedRev === 0 || KINDS_THAT_STAY.includes(kind)) return false;
  const knew = op.seen !== null || generationOf(payload) > 0;
  const isBehind = op.baseRev < prunedRev;
  const isOld = stamp.ms <= serverNow - TOMBSTONE_LIFE_MS;
  return isOld ? op.seen !== null || isBehind : KINDS_WITH_GENERATIONS.includes(kind) && knew && isBehind;
}

/** Whether the author had not heard of an erasure: not by time, so that no clock brings anything back. */
export function isErased({ namespace, baseRev }: SoundOp["op"], { erased }: Forgotten): boolean {
  return baseRev < Math.max(erased["*"] ?? 0, (Object.hasOwn(erased, namespace) ? erased[namespace] : 0) ?? 0);
}

/** What an op of its kind does. */
export function typeOf(payload: Json): Json | undefined {
  return isObject(payload) ? payload["type"] : undefined;
}

/** Which generation of a draft or a text, or epoch of a progress, an op is for. */
function generationOf(payload: Json): number {
  const generation = isObject(payload) ? (payload["generation"] ?? payload["epoch"]) : undefined;
  return typeof generation === "number" ? generation : 0;
}

function isObject(value: Json): value is { readonly [name: string]: Json } {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
