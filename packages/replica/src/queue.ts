/** The queue of this device's changes: made immediately, online or offline, and sent later. */
import { compareInstants, nextInstant, shiftInstant, type Instant, type KindName } from "@continuo/merge";
import type { Queued, Replica, Unit } from "./replica.ts";
import { show, type Kinds } from "./show.ts";

/** A change requested by the application; `payload` must satisfy `parsePayload` of its kind. */
export interface Change extends Unit {
  readonly kind: KindName;
  readonly payload: unknown;
  readonly schemaVersion: number;
}

/**
 * Returns the replica with a new change of its own, shown from now on. The change records what its author had seen: the
 * stamps of the unit and the replica's revision. `now` is the device's clock, milliseconds since the epoch.
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
 * Returns the replica after the device's clock was set by `jumpMs` (positive: forward). Everything in the queue keeps
 * its age, including ops already sent: a repeated seq has no effect whatever its stamp, and until a change comes back,
 * its stamp is used to show it, and to resend it if the server lost it.
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

/** The latest stamp others wrote to this unit; the replica's own changes count as seen without it. */
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
