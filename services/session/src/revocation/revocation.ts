/**
 * Revocation: ending sessions, with who did it, why, and a receipt.
 * It takes effect with its commit; gateways learn of it from the log, and the jobs that follow only notify.
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
  /** A session and all sessions approved in it, directly or indirectly. */
  | { readonly kind: "LINEAGE"; readonly sessionId: string }
  | { readonly kind: "DEVICE"; readonly deviceId: string }
  | { readonly kind: "OTHER_DEVICES"; readonly exceptDeviceId: string }
  /** All of the user's sessions, the caller's own included; also raises the user's epoch. */
  | { readonly kind: "EVERYWHERE" };

export interface RevocationAck {
  readonly replica: string;
  readonly at: Date;
  readonly socketsClosed: number;
}

/** Proof of a revocation, or of its undo. */
export interface RevocationReceipt {
  readonly seq: number;
  readonly at: Date;
  /** How many sessions it ended, or restored if it is an undo. */
  readonly sessionsEnded: number;
  readonly acks: readonly RevocationAck[];
  /** The replicas that have not acknowledged it and may still accept the ended sessions. */
  readonly pendingReplicas: readonly string[];
}

/** The receipt right after the commit: nothing has been heard from any replica. */
export function freshReceipt({ seq, at, sessions }: { seq: number; at: Date; sessions: number }): RevocationReceipt {
  return { seq, at, sessionsEnded: sessions, acks: [], pendingReplicas: [] };
}

/** A gateway replica, and when it was last heard of. A replica that signed off is no longer known. */
export interface Replica {
  readonly name: string;
  readonly heardAt: Date;
}

/** After this silence a replica is strict for certain: it reads the log before each operation. Milliseconds. */
const SILENT_AFTER_MS = 10_000;

/**
 * With posture OPEN a silent replica still goes by what it last knew, for the life of an access token; includes a
 * minute for clock differences. Milliseconds.
 */
const OPEN_FOR_MS = (LONGEST_ACCESS_TOKEN_SECONDS + 60) * 1_000;

/** A replica silent since this time or longer accepts no ended session any more. */
export const heardSince = (now: Date, mayBeOpen: boolean): Date =>
  new Date(now.getTime() - (mayBeOpen ? OPEN_FOR_MS : SILENT_AFTER_MS));

/** When the last known replica had applied it; null while one is pending, or when none has acknowledged it. */
export function completedAt({ acks, pendingReplicas }: RevocationReceipt): Date | null {
  if (pendingReplicas.length > 0 || acks.length === 0) return null;
  return new Date(Math.max(...acks.map(({ at }) => at.getTime())));
}

/** What a statement wrote to the log: its highest `seq`, and whether it posted to the outbox. */
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
  /** The user who asked, and their session, which must still be live; null when the system itself revokes. */
  readonly actor: Pick<Viewer, "userId" | "sessionId"> | null;
  readonly now: Date;
}

/** A client's revocation of its session by a refresh token (RFC 7009). */
export interface RevokePresentedCommand {
  readonly presented: Pick<RefreshTokenParts, "grantId" | "salt">;
  readonly applicationId: string;
  readonly now: Date;
}

export type EndedOfUser = Ended & { readonly userId: string };

export interface RevocationStore {
  /**
   * Ends the live sessions that the selector matches, in one transaction with the log row; undefined when there are
   * none, or when the actor's own session has already ended.
   */
  revoke(command: RevokeCommand): Promise<Ended | undefined>;
  /**
   * The same for the session of the grant with that id and salt; undefined also when there is no such grant. Throws
   * UNAUTHENTICATED/TOKEN_NOT_YOURS when the grant belongs to another application.
   */
  revokePresented(command: RevokePresentedCommand): Promise<EndedOfUser | undefined>;
  /** The receipt, as of `now`, of a revocation that `actorId` requested. */
  receipt(seq: number, actorId: string, now: Date): Promise<RevocationReceipt | undefined>;
}

/** Notifies other processes after a commit; a lost announcement does no harm. */
export interface RevocationAnnouncer {
  revoked(logged: Logged): Promise<void>;
  devicesChanged(userId: string, deviceRev: number): Promise<void>;
}

/** The result of a sign-out. */
export interface SignOut {
  /** Undefined when there was nothing to sign out. */
  readonly receipt: RevocationReceipt | undefined;
  readonly deviceIds: readonly string[];
}

export interface Revocations {
  /** Ends the viewer's session; idempotent. */
  signOut(viewer: Viewer): Promise<SignOut>;
  /** Signs out one of the viewer's devices; does nothing for a device that is not theirs. */
  signOutDevice(viewer: Viewer, deviceId: string): Promise<SignOut>;
  signOutOtherDevices(viewer: Viewer): Promise<SignOut>;
  /**
   * Ends one of the viewer's sessions, with `andApproved` also those approved in it; does nothing for one that is not
   * theirs.
   */
  signOutSession(viewer: Viewer, sessionId: string, andApproved: boolean): Promise<SignOut>;
  /** Ends all sessions of the viewer, this one included. */
  signOutEverywhere(viewer: Viewer): Promise<SignOut>;
  /** Ends a session whose refresh token was reused. */
  endForReuse(session: Session): Promise<void>;
  /** Ends a session for its client, which presented an access token of it (RFC 7009). */
  endByClient(session: Pick<Session, "id" | "userId">): Promise<void>;
  /**
   * The same by a refresh token, whether or not it was used before. Throws UNAUTHENTICATED/TOKEN_NOT_YOURS for another
   * client's.
   */
  endPresented(presented: RefreshTokenParts, applicationId: string): Promise<void>;
  /** Throws NOT_FOUND/RECEIPT_NOT_FOUND, also for another user's. */
  receipt(viewer: Viewer, seq: string): Promise<RevocationReceipt>;
}

const SEQ = /^[1-9]\d{0,14}$/;

/** Parses a `seq` from a client; undefined when it is not valid. */
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
      receipt: freshReceipt({ seq: ended.seq, at: ended.at, sessions: ended.sessionIds.length }),
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
