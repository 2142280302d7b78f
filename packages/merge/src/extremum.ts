/**
 * One number that only moves one way. There is no deletion: it would have to remember every number it might uncover.
 */
import type { Kind, KindName } from "./kind.ts";
import type { ExtremumPayload } from "./payload.ts";
import { compareStamps } from "./stamp.ts";
import type { ExtremumState } from "./state.ts";

/** A kind that keeps the better number; of two equal ones, the earlier. Bounded: one number and its stamp. */
export function extremum(
  name: KindName,
  isBetter: (value: number, than: number) => boolean,
): Kind<ExtremumState, ExtremumPayload, number> {
  return {
    name,
    initial: { standing: null },
    maxStateBytes: 512,
    apply(state, { value }, { stamp }) {
      const { standing } = state;
      // Adding 0 turns negative zero, which JSON cannot represent, into zero.
      const next = joinExtrema(state, { standing: { value: value + 0, stamp } }, isBetter);
      if (next !== state) return { outcome: "APPLIED", state: next, losers: [] };
      const lost = value !== standing?.value;
      return {
        outcome: lost ? "MERGED" : "NOOP",
        state,
        losers: lost ? [{ name: null, value, deleted: false, stamp }] : [],
      };
    },
    view: ({ standing }) => standing?.value,
    standing: ({ standing }) => (standing === null ? [] : [standing.stamp]),
    join: (state, other) => joinExtrema(state, other, isBetter),
  };
}

/** Returns the state with the better number. Idempotent, commutative and associative. */
export function joinExtrema(
  left: ExtremumState,
  right: ExtremumState,
  isBetter: (value: number, than: number) => boolean,
): ExtremumState {
  const [one, other] = [left.standing, right.standing];
  if (one === null || other === null) return one === null ? right : left;
  if (one.value !== other.value) return isBetter(one.value, other.value) ? left : right;
  return compareStamps(one.stamp, other.stamp) <= 0 ? left : right;
}
