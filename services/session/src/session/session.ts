/**
 * A session: a signed-in presence of a person on a device in one application.
 * It is live while its state is ACTIVE and both deadlines are ahead. Time alone decides that, never whether a job has
 * run.
 */
import { AppError } from "@continuo/errors";
import { z } from "zod";

/** Why a session ended, as clients see it. */
export const EndReason = z.enum([
  "SIGNED_OUT",
  "SIGNED_OUT_REMOTELY",
  "IDLE",
  "ABSOLUTE",
  "EVICTED",
  "REPLACED",
  "REFRESH_TOKEN_REUSED",
  "ADMINISTRATOR",
  "USER_DISABLED",
  "USER_DELETED",
]);
export type EndReason = z.infer<typeof EndReason>;

/** A row of `sessions`. */
export const Session = z.object({
  id: z.uuid(),
  userId: z.uuid(),
  deviceId: z.uuid(),
  applicationId: z.string(),
  /** The session in which this one was approved. */
  parentId: z.uuid().nullable(),
  /** The version of the application's policy that it lives under. */
  policyVersion: z.number().int(),
  acr: z.string(),
  amr: z.array(z.string()),
  authTime: z.date(),
  startedAt: z.date(),
  lastActiveAt: z.date(),
  idleDeadline: z.date(),
  absoluteDeadline: z.date(),
  /** Where it was last used from; see Place. */
  ipPrefix: z.string().nullable(),
  country: z.string().nullable(),
  state: z.enum(["ACTIVE", "EXPIRED", "REVOKED"]),
  endedAt: z.date().nullable(),
  endReason: EndReason.nullable(),
});
export type Session = z.infer<typeof Session>;

/** The state of a session at a given time. */
export type Standing =
  | { readonly state: "ACTIVE" }
  | { readonly state: "EXPIRED" | "REVOKED"; readonly endedAt: Date; readonly endReason: EndReason | null };

/** The limit that ends a session first if nothing else does, and when. */
export interface Expiry {
  readonly at: Date;
  readonly because: "IDLE" | "ABSOLUTE";
}

/** The earlier of the two deadlines. */
export function expiryOf(session: Pick<Session, "idleDeadline" | "absoluteDeadline">): Expiry {
  const { idleDeadline, absoluteDeadline } = session;
  return idleDeadline < absoluteDeadline
    ? { at: idleDeadline, because: "IDLE" }
    : { at: absoluteDeadline, because: "ABSOLUTE" };
}

/** The state of the session at `now`. An expired session ended at its deadline, whenever the row was updated. */
export function standingOf(
  session: Pick<Session, "state" | "idleDeadline" | "absoluteDeadline" | "endedAt" | "endReason">,
  now: Date,
): Standing {
  const expiry = expiryOf(session);
  if (session.state === "REVOKED") {
    return { state: "REVOKED", endedAt: session.endedAt ?? expiry.at, endReason: session.endReason };
  }
  if (session.state === "ACTIVE" && now < expiry.at) return { state: "ACTIVE" };
  return { state: "EXPIRED", endedAt: expiry.at, endReason: expiry.because };
}

/** UNAUTHENTICATED/SESSION_ENDED, with `details.endReason` when it is known. */
export function sessionEnded(endReason: EndReason | null): AppError {
  return new AppError("UNAUTHENTICATED", "SESSION_ENDED", "The session has ended: sign in again.", {
    ...(endReason && { details: { endReason } }),
  });
}

/** NOT_FOUND/SESSION_NOT_FOUND: absent, or not yours. */
export function sessionNotFound(): AppError {
  return new AppError("NOT_FOUND", "SESSION_NOT_FOUND", "You have no such session.");
}

/** Reads of sessions. */
export interface SessionStore {
  /** In the order of `ids`, undefined where there is none. */
  byIds(ids: readonly string[]): Promise<(Session | undefined)[]>;
  /**
   * The sessions of each device, newest first, at most 100 of each: the live ones, and with `endedSince` those that
   * ended after it.
   */
  byDevices(deviceIds: readonly string[], now: Date, endedSince: Date | null): Promise<Session[][]>;
}
