/**
 * Repairs the stamp of a change made by a clock that may be wrong: never refuses, never believes.
 * Only whoever owns the order (the server) may assign it; everybody else stores what it assigned.
 */
import { compareInstants, instantAfter, type Instant, type Stamp } from "./stamp.ts";

export interface Moment {
  /** The author's clock when it sent the change, milliseconds since the epoch. */
  readonly clientNow: number;
  /** The server's clock when it heard of it, never going back. */
  readonly serverNow: number;
  /** The stamp of the value that the author had before their eyes, as they say. */
  readonly seen: Instant | null;
  /** The stamps of what stands where the change goes; several when writes stand beside each other. */
  readonly standing: readonly Stamp[];
}

/**
 * The stamp that counts. Three rules, the later ones over the earlier:
 *
 * 1. A change is as old as its author's clock says it is (`clientNow − stamp.ms`): the error of a wrong clock is in both
 *    terms and cancels. So the true time of writing decides, up to the travel time of the request. A clock set between
 *    the change and its sending is beyond the server; the replica repairs its own queue.
 * 2. Nothing is later than the server's clock, so no lie about time wins for longer than until the next honest write.
 * 3. Whoever had a value before their eyes writes after it, whatever the clocks say. One's own writes count as seen,
 *    so a replica's changes of one unit keep their order. Nobody can have seen more than what stands: a `seen` beyond it
 *    counts as that. What stands is itself not later than the server's clock, so rule 3 adds at most a counter
 *    (when 65,536 changes of one unit fall into one millisecond, the next one; the server's clock follows).
 */
export function effectiveStamp(stamp: Stamp, moment: Moment): Stamp {
  const { clientNow, serverNow, seen, standing } = moment;
  const { clientId } = stamp;
  const repaired = { ms: Math.max(0, Math.min(serverNow, serverNow - (clientNow - stamp.ms))), counter: stamp.counter };
  const last = latest(standing);
  const own = standing.filter((each) => each.clientId === clientId);
  const known = latest([...own, ...(seen === null || last === undefined ? [] : [earlier(seen, last)])]);
  if (known === undefined || compareInstants(repaired, known) > 0) return { ...repaired, clientId };
  return { ...instantAfter(known), clientId };
}

function latest(instants: readonly Instant[]): Instant | undefined {
  const [first, ...rest] = instants;
  return first && rest.reduce((one, other) => (compareInstants(one, other) >= 0 ? one : other), first);
}

function earlier(left: Instant, right: Instant): Instant {
  return compareInstants(left, right) <= 0 ? left : right;
}
