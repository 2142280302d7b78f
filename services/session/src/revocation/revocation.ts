/**
 * Revocation: ending sessions, by whom, why, and the proof of it.
 * It holds from its commit on; gateways learn of it by reading the log, and the jobs that follow only tell people.
 */
import type { Viewer } from "@continuo/access";
import { AppError } from "@continuo/errors";
import { z } from "zod";
import { LONGEST_ACCESS_TOKEN_SECONDS } from "../policy/policy.ts";
import type { EndReason, Session } from "../session/session.ts";
import type { RefreshTokenParts } from "../token/refresh-token.ts";

/** Which live sessions of a user to end. */
export type Selector =
  | { readonly kind: "SESSION"; readonly sessionId: string }
  /** A session and all that were approved in it, and in those. */
  | { readonly kind: "LINEAGE"; readonly sessionId: string }
  | { readonly kind: "DEVICE"; readonly deviceId: string }
  | { readonly kind: "OTHER_DEVICES"; readonly exceptDeviceId: string }
  /** All of the user's, the caller's own included; it also raises the user's epoch. */
  | { readonly kind: "EVERYWHERE" };

export interface RevocationAck {
  readonly replica: string;
  readonly at: Date;
  readonly socketsClosed: number;
}

/** Proof of a revocation, or of one taken back. */
export interface RevocationReceipt {
  readonly seq: number;
  readonly at: Date;
  /** How many sessions it ended; when it took a revocation back, how many it gave back. */
  readonly sessionsEnded: number;
  readonly acks: readonly RevocationAck[];
  /** The replicas that have not answered, and may still let in what it ended. */
  readonly pendingReplicas: readonly string[];
}

/** The receipt of something that was committed a moment ago. */
export function heardNothing({ seq, at, sessions }: { seq: number; at: Date; sessions: number }): RevocationReceipt {
  return { seq, at, sessionsEnded: sessions, acks: [], pendingReplicas: [] };
}

/** A gateway replica, as it was last heard of. One that has taken its leave is not known any more. */
export interface Replica {
  readonly name: string;
  readonly heardAt: Date;
}

/** A replica that has been silent for this long has long turned strict and asks before each operation. Milliseconds. */
const SILENT_AFTER_MS = 10_000;

/**
 * For posture OPEN it goes on from what it knew, for the life of an access token; a minute more for clocks that disagree.
 * Milliseconds.
 */
const OPEN_FOR_MS = (LONGEST_ACCESS_TOKEN_SECONDS + 60) * 1_000;

/** Since when a replica must have been silent to let nobody in whose session has ended. */
export const heardSince = (now: Date, mayBeOpen: boolean): Date =>
  new Date(now.getTime() - (mayBeOpen ? OPEN_FOR_MS : SILENT_AFTER_MS));

/** When the last of all replicas that are there had applied it; null while one has not, or none is there. */
export function completedAt({ acks, pendingReplicas }: RevocationReceipt): Date | null {
  if (pendingReplicas.length > 0 || acks.length === 0) return null;
  return new Date(Math.max(...acks.map(({ at }) => at.getTime())));
}

/** What a statement wrote to the log: its newest place there, and whether the outbox has a row of it. */
export const Logged = z.object({ seq: z.number().int(), posted: z.boolean() });
export type Logged = z.infer<typeof Logged>;

/** A change that ended sessions. */
export interface Ended extends Logged {
  readonly at: Date;
  readonly sessionIds: readonly string[];
  readonly deviceIds: readonly string[];
  readonly deviceRev: number;
}

export interface RevokeCommand {
  readonly userId: string;
  readonly selector: Selector;
  readonly reason: EndReason;
  /** Who asked for it, in a session that must still be live; null when it was ourselves. */
  readonly actor: Pick<Viewer, "userId" | "sessionId"> | null;
  readonly now: Date;
}

/** As a client signs its session out by a refresh token (RFC 7009). */
export interface RevokePresentedCommand {
  readonly presented: Pick<RefreshTokenParts, "grantId" | "salt">;
  readonly applicationId: string;
  readonly now: Date;
}

export type EndedOfUser = Ended & { readonly userId: string };

export interface RevocationStore {
  /**
   * Ends what the selector names and is live, in one transaction with its row in the log; undefined when there is nothing,
   * or when the actor's own session has ended before.
   */
  revoke(command: RevokeCommand): Promise<Ended | undefined>;
  /**
   * The same for the session of a grant, with that salt; undefined also when there is none. Throws
   * UNAUTHENTICATED/TOKEN_NOT_YOURS when it was given to another application.
   */
  revokePresented(command: RevokePresentedCommand): Promise<EndedOfUser | undefined>;
  /** The receipt of a revocation that `actorId` asked for, as it stands at `now`. */
  receipt(seq: number, actorId: string, now: Date): Promise<RevocationReceipt | undefined>;
}

/** Tells the other processes after a commit; may be lost without harm. */
export interface RevocationAnnouncer {
  revoked(logged: Logged): Promise<void>;
  devicesChanged(userId: string, deviceRev: number): Promise<void>;
}

/** What came of a sign-out. */
export interface SignOut {
  /** Undefined when there was nothing to sign out. */
  readonly receipt: RevocationReceipt | undefined;
  readonly deviceIds: readonly string[];
}

export interface Revocations {
  /** Signs the viewer out here; repeating it is harmless. */
  signOut(viewer: Viewer): Promise<SignOut>;
  /** Signs out a device of the viewer; one that is not theirs loses nothing. */
  signOutDevice(viewer: Viewer, deviceId: string): Promise<SignOut>;
  signOutOtherDevices(viewer: Viewer): Promise<SignOut>;
  /** Ends one session of the viewer, and with `andApproved` what was approved in it; one that is not theirs loses nothing. */
  signOutSession(viewer: Viewer, sessionId: string, andApproved: boolean): Promise<SignOut>;
  /** Ends all sessions of the viewer, this one included. */
  signOutEverywhere(viewer: Viewer): Promise<SignOut>;
  /** Ends one session whose refresh token came back. */
  endForReuse(session: Session): Promise<void>;
  /** Signs a session out for its client, which has shown an access token of it (RFC 7009). */
  endByClient(session: Pick<Session, "id" | "userId">): Promise<void>;
  /** The same by a refresh token, used before or not. Throws UNAUTHENTICATED/TOKEN_NOT_YOURS for another client's. */
  endPresented(presented: RefreshTokenParts, applicationId: string): Promise<void>;
  /** Throws NOT_FOUND/RECEIPT_NOT_FOUND, also for somebody else's. */
  receipt(viewer: Viewer, seq: string): Promise<RevocationReceipt>;
}

const SEQ = /^[1-9]\d{0,14}$/;

/** A place in the log as clients write it; undefined for what is none. */
export const parseSeq = (text: string): number | undefined => (SEQ.test(text) ? Number(text) : undefined);

/** Wires the use cases. */
export function createRevocations(options: {
  store: RevocationStore;
  announce: RevocationAnnouncer;
  now: () => Date;
}): Revocations {
  const { store, announce, now } = options;

  async function revoke(
    userId: string,
    selector: Selector,
    reason: EndReason,
    actor: RevokeCommand["actor"],
  ): Promise<Ended | undefined> {
    const ended = await store.revoke({ userId, selector, reason, actor, now: now() });
    if (ended !== undefined) await tell(userId, ended);
    return ended;
  }

  async function tell(userId: string, ended: Ended): Promise<void> {
    await Promise.all([announce.revoked(ended), announce.devicesChanged(userId, ended.deviceRev)]);
  }

  async function signOut(viewer: Viewer, selector: Selector, reason: EndReason, deviceIds: string[]): Promise<SignOut> {
    const ended = await revoke(viewer.userId, selector, reason, viewer);
    if (ended === undefined) return { receipt: undefined, deviceIds };
    return {
      receipt: heardNothing({ seq: ended.seq, at: ended.at, sessions: ended.sessionIds.length }),
      deviceIds: [...new Set([...deviceIds, ...ended.deviceIds])],
    };
  }

  return {
    signOut: (viewer) =>
      signOut(viewer, { kind: "SESSION", sessionId: viewer.sessionId }, "SIGNED_OUT", [viewer.deviceId]),
    signOutDevice: (viewer, deviceId) =>
      signOut(
        viewer,
        { kind: "DEVICE", deviceId },
        deviceId === viewer.deviceId ? "SIGNED_OUT" : "SIGNED_OUT_REMOTELY",
        [deviceId],
      ),
    signOutOtherDevices: (viewer) =>
      signOut(viewer, { kind: "OTHER_DEVICES", exceptDeviceId: viewer.deviceId }, "SIGNED_OUT_REMOTELY", []),
    signOutSession: (viewer, sessionId, andApproved) =>
      signOut(
        viewer,
        { kind: andApproved ? "LINEAGE" : "SESSION", sessionId },
        sessionId === viewer.sessionId ? "SIGNED_OUT" : "SIGNED_OUT_REMOTELY",
        [],
      ),
    signOutEverywhere: (viewer) => signOut(viewer, { kind: "EVERYWHERE" }, "SIGNED_OUT_REMOTELY", []),
    endForReuse: async ({ id, userId }) =>
      void (await revoke(userId, { kind: "SESSION", sessionId: id }, "REFRESH_TOKEN_REUSED", null)),
    endByClient: async ({ id, userId }) =>
      void (await revoke(userId, { kind: "SESSION", sessionId: id }, "SIGNED_OUT", { userId, sessionId: id })),
    async endPresented(presented, applicationId) {
      const ended = await store.revokePresented({ presented, applicationId, now: now() });
      if (ended !== undefined) await tell(ended.userId, ended);
    },
    receipt: async (viewer, seq) => {
      const place = parseSeq(seq);
      const receipt = place && (await store.receipt(place, viewer.userId, now()));
      if (receipt) return receipt;
      throw receiptNotFound();
    },
  };
}

/** NOT_FOUND/RECEIPT_NOT_FOUND: absent, or not yours. */
export function receiptNotFound(): AppError {
  return new AppError("NOT_FOUND", "RECEIPT_NOT_FOUND", "There is no such receipt.");
}
