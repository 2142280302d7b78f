/** Applies one op to one unit: the server does this to settle the op, a replica to show it before the server has. */
import { effectiveStamp } from "./effective-stamp.ts";
import type { Applied, Kind } from "./kind.ts";
import type { Instant, Stamp } from "./stamp.ts";

/** A change as its author made it, once and for all. */
export interface Op<Payload> {
  readonly payload: Payload;
  /** By the author's clock. */
  readonly stamp: Instant;
  /** The stamp of the value that the author saw when making the change; null when there was none. */
  readonly seen: Instant | null;
  /** The author had seen every revision up to this one. */
  readonly baseRev: number;
}

/** Where and when an op arrives. A replica that shows its own ops uses its estimate of the server's clock. */
export interface Arrival {
  /** The author's replica. */
  readonly clientId: string;
  readonly deviceId: string;
  /** The author's clock when it sent the op, milliseconds since the epoch. */
  readonly clientNow: number;
  /** The server's clock in milliseconds since the epoch, monotonic. */
  readonly serverNow: number;
  /** The revision assigned to a change, higher than every one before it. */
  readonly rev: number;
}

/** Applies `payload` to `state`; never throws. The returned stamp is the effective one. */
export function applyOp<State, Payload, View>(
  kind: Kind<State, Payload, View>,
  state: State,
  op: Op<Payload>,
  arrival: Arrival,
): Applied<State> & { readonly stamp: Stamp } {
  const { clientId, deviceId, clientNow, serverNow, rev } = arrival;
  const { payload, seen } = op;
  const standing = kind.standing(state, payload, deviceId);
  const stamp = effectiveStamp({ ...op.stamp, clientId }, { clientNow, serverNow, seen, standing });
  // A client cannot have seen revisions that do not exist yet, whatever it claims.
  const baseRev = Math.min(op.baseRev, rev - 1);
  return { ...kind.apply(state, payload, { stamp, seen, deviceId, baseRev, rev }), stamp };
}
