/**
 * The clock of one replica: what it stamps its own changes with, by its own device's time, right or wrong.
 * It never takes over what other clocks said: the server repairs a stamp by the error of the clock that made it, and
 * causality travels beside it, as `seen` and `baseRev`.
 */
import { instantAfter, type Instant } from "./stamp.ts";

/**
 * The stamp of the next change, taken once, when it is made; `last` is the one before, null for a new replica. Later
 * than `last` even while the device's clock stands still or goes back. `now` in milliseconds since the epoch.
 */
export function nextInstant(last: Instant | null, now: number): Instant {
  return last === null || now > last.ms ? { ms: now, counter: 0 } : instantAfter(last);
}

/**
 * A stamp by the device's clock after somebody set that clock by `jumpMs` (positive: forward). A replica that notices
 * shifts the stamps of its queue and the last one it gave, so that they keep their order and their age.
 */
export function shiftInstant({ ms, counter }: Instant, jumpMs: number): Instant {
  return { ms: Math.max(0, ms + jumpMs), counter };
}
