/**
 * Expired units become tombstones: to every reader they are deleted units, each with a revision of its own, so that no
 * replica keeps what others have dropped. Reads do not wait for this; pushes do it first, and retention does it
 * eventually.
 */
import { expire, type Json } from "@continuo/merge";
import { usageAfter, type Usage } from "./quota.ts";
import { bytesOf, kindNamed, KINDS_THAT_STAY, type Unit, type UnitName, type Weighed } from "./unit.ts";

/** What is left of a unit. */
export interface Tombstone extends UnitName, Pick<Unit, "kind" | "state" | "rev" | "bytes"> {}

/** The state of an expired unit. */
export function expiredState({ kind, state }: Pick<Unit, "kind" | "state">): Json {
  return expire(kindNamed(kind), state);
}

/** Replaces `due` by tombstones, in order; `rev` and `usage` are the user's head, before and after. */
export function makeTombstones(
  { rev, usage }: { readonly rev: number; readonly usage: Usage },
  due: readonly (UnitName & Weighed)[],
): { readonly rev: number; readonly usage: Usage; readonly tombstones: readonly Tombstone[] } {
  let left = usage;
  const tombstones = due.map((unit, index): Tombstone => {
    const { namespace, key, field, kind } = unit;
    const state = expiredState(unit);
    // Later numbers are not merged with an expired one, so its weight could never be subtracted again.
    const isMet = !KINDS_THAT_STAY.includes(kind);
    const bytes = isMet ? bytesOf({ kind, state }, unit) : 0;
    left = usageAfter(left, unit, unit, isMet ? { kind, state, bytes } : undefined);
    return { namespace, key, field, kind, state, rev: rev + index + 1, bytes };
  });
  return { rev: rev + due.length, usage: left, tombstones };
}
