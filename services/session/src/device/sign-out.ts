/**
 * How far the latest sign-out of a device got: requested, locked out everywhere, confirmed by the device's own
 * connection. Not the sign-out itself, which holds from its commit.
 */
import { heardSince, type Replica, type RevocationAck } from "../revocation/revocation.ts";
import { standingOf, type EndReason, type Session } from "../session/session.ts";

/** A sign-out as clients see it. */
export interface DeviceSignOut {
  readonly requestedAt: Date;
  readonly reason: EndReason;
  /** When every gateway had locked it out; null while one has not answered and may still let it in. */
  readonly lockedOutAt: Date | null;
  /** When its last access token has expired everywhere. */
  readonly effectiveBy: Date;
  /** When a connection of it was closed; null when there was none. */
  readonly confirmedAt: Date | null;
}

/**
 * The session of a device that ended last, with what is known about its end and that of sessions that ended with it.
 */
export interface LastSession {
  readonly session: Session;
  /** When the last of their access tokens expires. No token outlives its session's deadlines as of minting. */
  readonly lastTokenBy: Date;
  /** Whether one of those tokens may have posture OPEN. */
  readonly mayBeOpen: boolean;
  readonly acks: readonly RevocationAck[];
}

export interface SignOutStore {
  /** In the order of `deviceIds`; undefined for a device that never had a session. */
  lastSessions(deviceIds: readonly string[]): Promise<(LastSession | undefined)[]>;
  /** All gateway replicas that are known. */
  replicas(): Promise<Replica[]>;
}

/** The state of the sign-out at `now`; null for a session that is live. */
export function signOutOf(last: LastSession, replicas: readonly Replica[], now: Date): DeviceSignOut | null {
  const { session, lastTokenBy, mayBeOpen, acks } = last;
  const standing = standingOf(session, now);
  if (standing.state === "ACTIVE" || standing.endReason === null) return null;
  const { endedAt, endReason } = standing;
  const confirmedAt = earliest(acks.filter(({ socketsClosed }) => socketsClosed > 0).map(({ at }) => at));
  const told = { requestedAt: endedAt, reason: endReason, confirmedAt };
  const since = heardSince(now, mayBeOpen);
  const mayLetIn = replicas.filter(({ heardAt }) => heardAt > since).map(({ name }) => name);
  return { ...told, lockedOutAt: lockedOutAt(acks, mayLetIn, lastTokenBy, now), effectiveBy: lastTokenBy };
}

function lockedOutAt(
  acks: readonly RevocationAck[],
  replicas: readonly string[],
  effectiveBy: Date,
  now: Date,
): Date | null {
  const answered = new Set(acks.map(({ replica }) => replica));
  const last = latest(acks.map(({ at }) => at));
  if (last !== null && last < effectiveBy && replicas.every((replica) => answered.has(replica))) return last;
  return now >= effectiveBy ? effectiveBy : null;
}

const earliest = (dates: readonly Date[]): Date | null =>
  dates.toSorted((a, b) => a.getTime() - b.getTime())[0] ?? null;
const latest = (dates: readonly Date[]): Date | null => dates.toSorted((a, b) => b.getTime() - a.getTime())[0] ?? null;
