/**
 * The clock of one replica. It stamps the replica's own changes with the device's time, right or wrong, and never
 * adopts another clock's time: the server corrects each stamp by the error of the clock that made it, and causality
 * travels separately, as `seen` and `baseRev`.
 */
import { instantAfter, type Instant } from "./stamp.ts";

/**
 * Returns the stamp for the next change, taken once, when the change is made. `last` is the previous stamp, null for a
 * new replica; the result is later than `last` even if the device's clock stands still or goes back. `now` is in
 * milliseconds since the epoch.
 */
export function nextInstant(last: Instant | null, now: number): Instant {
  return last === null || now > last.ms ? { ms: now, counter: 0 } : instantAfter(last);
}

/**
 * Shifts a stamp after the device's clock was set by `jumpMs` (positive: forward). A replica that notices the jump
 * shifts the stamps in its queue and the last stamp it issued, so that they keep their order and age.
 */
export function shiftInstant({ ms, counter }: Instant, jumpMs: number): Instant {
  return { ms: Math.max(0, ms + jumpMs), counter };
}
