/**
 * A maximum: the largest number that was ever written stands. It only grows and so has no deletion: a deletion would
 * have to remember each smaller, later number that it might uncover.
 */
import { compareStamps, type Stamp } from "./stamp.ts";

export interface Max {
  readonly kind: "MAX";
  readonly standing: { readonly value: number; readonly deleted: false; readonly stamp: Stamp };
}

/** The larger number; of two equal ones, the one written first. Idempotent, commutative and associative. */
export function mergeMaxima(left: Max, right: Max): Max {
  const { value, stamp } = left.standing;
  const other = right.standing;
  if (value !== other.value) return value > other.value ? left : right;
  return compareStamps(stamp, other.stamp) <= 0 ? left : right;
}
