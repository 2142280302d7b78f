/** The queue of own changes: made at once, offline or not; sent later. */
import { compareInstants, nextInstant, shiftInstant, type Instant, type KindName } from "@continuo/merge";
import type { Queued, Replica, Unit } from "./replica.ts";
import { show, type Kinds } from "./show.ts";

/** A change that the application asks for; `payload` as `parsePayload` of its kind takes it. */
export interface Change extends Unit {
  readonly kind: KindName;
  readonly payload: unknown;
  readonly schemaVersion: number;
}

/**
 * The copy with a change of its own, shown from now on. What its author had before their eyes goes with it: the stamps
 * of the unit, and the revision of the copy. `now` by the device's clock, milliseconds since the epoch.
 */
export function change(replica: Replica, asked: Change, { now, kinds }: { now: number; kinds: Kinds }): Replica {
  const { payload, schemaVersion, namespace, key, field } = asked;
  const stamp = nextInstant(replica.lastStamp, now);
  const op: Queued = {
    seq: null,
    settledRev: null,
    namespace,
    key,
    field,
    payload,
    stamp,
    seen: seenBy(replica, asked, kinds, now),
    baseRev: replica.rev,
    schemaVersion,
  };
  return { ...replica, lastStamp: stamp, queue: [...replica.queue, op] };
}

/**
 * The copy after somebody set the device's clock by `jumpMs` (positive: forward). All that is in the queue keeps
 * its age, also what was sent: a repeated seq takes no effect whatever its stamp, and until a change has come back it is
 * shown by that, and sent again should the server have lost it.
 */
export function shiftClock(replica: Replica, jumpMs: number): Replica {
  const { lastStamp, queue, clockError } = replica;
  return {
    ...replica,
    lastStamp: lastStamp && shiftInstant(lastStamp, jumpMs),
    clockError: clockError - jumpMs,
    queue: queue.map((op) => ({ ...op, stamp: shiftInstant(op.stamp, jumpMs) })),
  };
}

/** The latest stamp of what others wrote here; own changes count as seen without it. */
function seenBy(
  replica: Replica,
  { kind: kindName, payload, ...unit }: Change,
  kinds: Kinds,
  now: number,
): Instant | null {
  const { state } = show({ ...replica, queue: [] }, unit, kindName, kinds, now);
  const stamps = kinds[kindName]?.standing(state, payload, replica.deviceId) ?? [];
  const latest = stamps.toSorted(compareInstants).at(-1);
  return latest === undefined ? null : { ms: latest.ms, counter: latest.counter };
}
