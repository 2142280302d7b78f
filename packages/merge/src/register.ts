/**
 * A register: the later write stands. The writes that lost stay in a short history, so that a merge can be undone.
 * In other words: the latest few of all writes there ever were, which is why the order of arrival does not matter.
 */
import type { Json } from "./json.ts";
import { compareStamps, type Stamp } from "./stamp.ts";

/** One write. A deletion is a write too, with a null value: it must go on winning over what was written before it. */
export interface Write {
  readonly value: Json;
  readonly deleted: boolean;
  readonly stamp: Stamp;
}

export interface Register {
  readonly kind: "REGISTER";
  /** The write that stands. */
  readonly standing: Write;
  /** Writes that lost against it, latest first, at most HISTORY_LENGTH. */
  readonly history: readonly Write[];
}

/** How many lost writes are kept. */
export const HISTORY_LENGTH = 5;

/** The latest writes of both. Idempotent, commutative and associative, history included; one stamp is one write. */
export function mergeRegisters(left: Register, right: Register): Register {
  const writes = [left.standing, ...left.history, right.standing, ...right.history]
    .sort((one, other) => compareStamps(other.stamp, one.stamp))
    .filter(({ stamp }, index, all) => index === 0 || compareStamps(stamp, all[index - 1]?.stamp ?? stamp) !== 0);
  const [standing = left.standing, ...lost] = writes;
  return { kind: "REGISTER", standing, history: lost.slice(0, HISTORY_LENGTH) };
}
