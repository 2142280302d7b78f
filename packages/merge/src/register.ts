/**
 * A register: the later write stands, whatever the arrival order. A write that lost without having been seen by the
 * winner's author stays in a short history, so that a merge can be undone; a value that was overwritten knowingly does
 * not.
 */
import { MAX_VALUE_BYTES } from "./json.ts";
import type { Context, Kind, Write } from "./kind.ts";
import type { RegisterPayload } from "./payload.ts";
import { compareInstants, compareStamps } from "./stamp.ts";
import type { RegisterState } from "./state.ts";

/** The number of lost writes that are kept. */
export const HISTORY_LENGTH = 5;

/** Bounded by its writes: the standing one plus HISTORY_LENGTH, each at most MAX_VALUE_BYTES and its stamp. */
export const register: Kind<RegisterState, RegisterPayload> = {
  name: "REGISTER",
  initial: { standing: null, history: [] },
  maxStateBytes: (1 + HISTORY_LENGTH) * (MAX_VALUE_BYTES + 256),
  apply(state, payload, context) {
    const { stamp } = context;
    const write: Write =
      payload.type === "DELETE"
        ? { value: null, deleted: true, stamp }
        : { value: payload.value, deleted: false, stamp };
    const { standing, history } = state;
    if (standing === null) return { outcome: "APPLIED", state: { standing: write, history }, losers: [] };
    if (writesOf(state).some((known) => compareStamps(known.stamp, stamp) === 0))
      return { outcome: "NOOP", state, losers: [] };

    if (compareStamps(stamp, standing.stamp) > 0) {
      if (hadSeen(context, standing)) return { outcome: "APPLIED", state: { standing: write, history }, losers: [] };
      const remembering = { standing: write, history: [standing, ...history].slice(0, HISTORY_LENGTH) };
      return { outcome: "APPLIED", state: remembering, losers: [{ ...standing, name: null }] };
    }
    // The same author has written a later value since.
    if (standing.stamp.clientId === stamp.clientId) return { outcome: "NOOP", state, losers: [] };
    const joined = joinRegisters(state, { standing: write, history: [] });
    const remembered = joined.history.includes(write);
    return { outcome: "MERGED", state: remembered ? joined : state, losers: [{ ...write, name: null }] };
  },
  view: ({ standing }) => (standing === null || standing.deleted ? undefined : standing.value),
  standing: ({ standing }) => (standing === null ? [] : [standing.stamp]),
  join(state, other) {
    const joined = joinRegisters(state, other);
    const [before, after] = [writesOf(state), writesOf(joined)];
    const isSame = before.length === after.length && after.every((write) => before.includes(write));
    return isSame ? state : joined;
  },
  // Keeps the stamp, so that earlier writes still lose against it.
  expire: ({ standing }) => ({
    standing: standing && { value: null, deleted: true, stamp: standing.stamp },
    history: [],
  }),
};

/**
 * Joins the latest writes of both sides. Idempotent, commutative and associative, history included: a stamp identifies
 * a write.
 */
export function joinRegisters(left: RegisterState, right: RegisterState): RegisterState {
  const [standing = null, ...lost] = [...writesOf(left), ...writesOf(right)]
    .sort((one, other) => compareStamps(other.stamp, one.stamp))
    .filter(({ stamp }, index, all) => index === 0 || compareStamps(stamp, all[index - 1]?.stamp ?? stamp) !== 0);
  return { standing, history: lost.slice(0, HISTORY_LENGTH) };
}

function writesOf({ standing, history }: RegisterState): readonly Write[] {
  return standing === null ? [] : [standing, ...history];
}

function hadSeen({ seen, stamp }: Context, write: Write): boolean {
  return write.stamp.clientId === stamp.clientId || (seen !== null && compareInstants(write.stamp, seen) <= 0);
}
