/**
 * Corrects the stamp of a change made by a clock that may be wrong; it neither rejects nor trusts that clock. Only the
 * server, which owns the order, assigns effective stamps; everyone else stores the assigned one.
 */
import { compareInstants, instantAfter, type Instant, type Stamp } from "./stamp.ts";

export interface Moment {
  /** The author's clock when it sent the change, milliseconds since the epoch. */
  readonly clientNow: number;
  /** The server's clock when the change arrived, monotonic. */
  readonly serverNow: number;
  /** The stamp of the value that the author claims to have seen. */
  readonly seen: Instant | null;
  /** The stamps of the writes that the change meets; several when concurrent writes are kept side by side. */
  readonly standing: readonly Stamp[];
}

/**
 * Computes the effective stamp. Three rules; later ones take precedence:
 *
 * 1. A change is as old as its author's clock says it is (`clientNow − stamp.ms`): a wrong clock's error is in both
 *    terms and cancels. So the true time of writing decides, up to the request's travel time. If the clock is set
 *    between the change and its sending, the server cannot tell; the replica corrects its own queue.
 * 2. No stamp is later than the server's clock, so a false time wins only until the next honest write.
 * 3. An author who saw a value writes after it, whatever the clocks say. The author's own writes count as seen, so a
 *    replica's changes to one unit keep their order. Nobody can have seen more than what stands, so a later `seen` is
 *    capped to that. What stands is itself never later than the server's clock, so rule 3 adds at most a counter (or
 *    moves to the next millisecond when one unit gets 65,536 changes within one; the server's clock follows).
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
