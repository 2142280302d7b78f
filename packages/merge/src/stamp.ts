/**
 * A stamp says when a change was made: a hybrid logical clock of milliseconds and a counter, plus the replica that made
 * it. It orders the changes of one unit. It is not a revision, which gives the order in which the server committed
 * changes.
 */
import { compareText } from "./json.ts";

export interface Stamp {
  /** Milliseconds since the epoch. */
  readonly ms: number;
  /** 0 to MAX_COUNTER. */
  readonly counter: number;
  /** The replica that made the change, a UUID in lower case. */
  readonly clientId: string;
}

/** A stamp without its author: what a replica knows of a value it has seen. */
export type Instant = Omit<Stamp, "clientId">;

/** The largest counter within one millisecond. */
export const MAX_COUNTER = 65_535;

/** Negative when `left` is earlier. A total order: a replica never gives one stamp to two changes. */
export function compareStamps(left: Stamp, right: Stamp): number {
  return compareInstants(left, right) || compareText(left.clientId, right.clientId);
}

/** Negative when `left` is earlier, regardless of the author. */
export function compareInstants(left: Instant, right: Instant): number {
  return left.ms - right.ms || left.counter - right.counter;
}

/** The first instant later than `instant`; a full counter moves on to the next millisecond. */
export function instantAfter({ ms, counter }: Instant): Instant {
  return counter < MAX_COUNTER ? { ms, counter: counter + 1 } : { ms: ms + 1, counter: 0 };
}
