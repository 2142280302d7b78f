/** One op upon one unit: what the server does to settle it, and a replica to show it before the server has. */
import { effectiveStamp } from "./effective-stamp.ts";
import type { Applied, Kind } from "./kind.ts";
import type { Instant, Stamp } from "./stamp.ts";

/** A change as its author made it, once and for all. */
export interface Op<Payload> {
  readonly payload: Payload;
  /** By the author's clock. */
  readonly stamp: Instant;
  /** The stamp of what the author had before their eyes; null when that was nothing. */
  readonly seen: Instant | null;
  /** The author had seen every revision up to this one. */
  readonly baseRev: number;
}

/** Where and when an op arrives. A replica that shows its own ops takes its guess of the server's clock. */
export interface Arrival {
  /** The replica that is the author. */
  readonly clientId: string;
  readonly deviceId: string;
  /** The author's clock when it sent the op, milliseconds since the epoch. */
  readonly clientNow: number;
  /** The server's clock, never going back, milliseconds since the epoch. */
  readonly serverNow: number;
  /** The revision that a change would get, later than every one given before. */
  readonly rev: number;
}

/** `payload` and `state` as `kind` takes them; throws nothing. The stamp is the one that counts from now on. */
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
  // Nobody has seen what is not there yet, whatever they claim.
  const baseRev = Math.min(op.baseRev, rev - 1);
  return { ...kind.apply(state, payload, { stamp, seen, deviceId, baseRev, rev }), stamp };
}
