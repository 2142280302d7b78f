/**
 * A counter: the sum of all deltas. It cannot tell a repeated delta from a new one; the protocol guarantees that each
 * takes effect once, by advancing the replica's `seq` in the same transaction as the effect.
 */
import type { Kind } from "./kind.ts";
import type { CounterPayload } from "./payload.ts";
import type { CounterState } from "./state.ts";

/**
 * Deltas are integers, so their order does not matter; floating-point sums would depend on it. Bounded: one number,
 * kept within the safe integers (a delta that would take it beyond ±(2^53 − 1) is rejected).
 */
export const counter: Kind<CounterState, CounterPayload, number> = {
  name: "COUNTER",
  initial: { value: 0 },
  maxStateBytes: 64,
  apply(state, { delta }) {
    const value = state.value + delta;
    if (value === state.value) return { outcome: "NOOP", state, losers: [] };
    if (!Number.isSafeInteger(value)) return { outcome: "REJECTED", state, losers: [], reason: "COUNTER_OVERFLOW" };
    return { outcome: "APPLIED", state: { value }, losers: [] };
  },
  view: ({ value }) => value,
  standing: () => [],
  join(state, other) {
    const further = Math.abs(other.value) - Math.abs(state.value);
    return further > 0 || (further === 0 && other.value > state.value) ? other : state;
  },
};
