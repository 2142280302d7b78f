/**
 * A counter: the sum of all deltas. It cannot tell a repeated delta from a new one; that each takes effect once is the
 * protocol's promise, which moves a replica's `seq` in the same transaction as the effect.
 */
import type { Kind } from "./kind.ts";
import type { CounterPayload } from "./payload.ts";
import type { CounterState } from "./state.ts";

/**
 * Deltas are whole numbers, so their order does not matter; a sum of fractions would depend on it. Bounded: one number,
 * which stays where it can be counted exactly (a delta beyond ±(2^53 − 1) is refused).
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
