/**
 * What a device shows: the pulled state with its own pending changes applied on top, by the same rules the server uses.
 */
import { applyOp, expire, type Json, type Kind, type KindName, type ResumePolicy } from "@continuo/merge";
import { unitId, type Queued, type Replica, type Unit } from "./replica.ts";

/** The kinds that the application has loaded. */
export type Kinds = Readonly<Partial<Record<KindName, Kind>>>;

export interface Shown {
  readonly kind: KindName;
  readonly state: Json;
  /** Undefined when the unit was deleted or never written. */
  readonly value: Json | undefined;
}

/**
 * Computes what to show of a unit. `kindName` is the kind that the namespace declares; an entry of another kind is
 * ignored. `now` is the device's clock, milliseconds since the epoch: an entry that has expired by then counts as
 * deleted. Without `now` nothing expires. `policy` is the namespace's resume policy for PROGRESS.
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

/** Whether the op's effect is in `entries`, or the op has none. */
export function isRevealed({ revealedSeq, rev }: Replica, { seq, settledRev }: Queued): boolean {
  return (seq !== null && seq <= revealedSeq) || (settledRev !== null && settledRev <= rev);
}
