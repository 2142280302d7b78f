/** What a device shows: what it has pulled, and upon it its own changes that are still on their way, by the server's own rules. */
import { applyOp, expire, type Json, type Kind, type KindName, type ResumePolicy } from "@continuo/merge";
import { unitId, type Queued, type Replica, type Unit } from "./replica.ts";

/** The kinds that are loaded. */
export type Kinds = Readonly<Partial<Record<KindName, Kind>>>;

export interface Shown {
  readonly kind: KindName;
  readonly state: Json;
  /** Undefined when there is nothing, be it deleted or never written. */
  readonly value: Json | undefined;
}

/**
 * `kindName` is the one that the namespace declares; what stands under another kind is not touched. `now` is the device's
 * clock, milliseconds since the epoch: what has expired by then is as good as deleted. Without it nothing expires.
 * `policy` is the namespace's for PROGRESS.
 */
export function show(
  replica: Replica,
  unit: Unit,
  kindName: KindName,
  kinds: Kinds,
  now?: number,
  policy?: ResumePolicy,
): Shown {
  const kind = kinds[kindName];
  if (kind === undefined) throw new RangeError(`the kind ${kindName} is not loaded`);
  const id = unitId(unit);
  const entry = replica.entries.get(id);
  let state: Json = entry?.kind === kindName ? entry.state : kind.initial;
  const serverNow = now === undefined ? Number.NEGATIVE_INFINITY : now + replica.clockError;
  if ((entry?.expiresAt ?? Number.POSITIVE_INFINITY) <= serverNow) state = expire(kind, state);
  const mine = replica.queue.filter((op) => unitId(op) === id && !isRevealed(replica, op));
  for (const op of mine) {
    const { clientId, deviceId, rev, clockError } = replica;
    const clientNow = op.stamp.ms;
    const arrival = { clientId, deviceId, clientNow, serverNow: clientNow + clockError, rev: rev + 1 };
    state = applyOp(kind, state, op, arrival).state;
  }
  return { kind: kindName, state, value: kind.view(state, policy) };
}

/** Its effect is in the entries, or it has none. */
export function isRevealed({ revealedSeq, rev }: Replica, { seq, settledRev }: Queued): boolean {
  return (seq !== null && seq <= revealedSeq) || (settledRev !== null && settledRev <= rev);
}
