/**
 * Undoing a sign-out: a user who signed out other devices by mistake can undo it for a short time. Until undone, the
 * sign-out holds everywhere; only sessions bound to a key, which each request must prove, are restored.
 */
import type { Viewer } from "@continuo/access";
import { AppError } from "@continuo/errors";
import {
  freshReceipt,
  parseSeq,
  receiptNotFound,
  type Logged,
  type RevocationAnnouncer,
  type RevocationReceipt,
} from "./revocation.ts";

/** How long a sign-out can be undone. Milliseconds. */
const UNDO_WINDOW_MS = 10 * 60_000;

/** Why a session stays ended although its sign-out was undone. */
export type NotRestoredReason =
  /** It is bound to no key, so anyone with a copy of its tokens would be restored too. */
  | "NO_KEY"
  /** It has reached a deadline meanwhile. */
  | "EXPIRED"
  /** Somebody has signed in again on the device, in the same application. */
  | "SIGNED_IN_AGAIN"
  /** The user already has as many sessions as the policy allows. */
  | "SESSION_LIMIT_REACHED";

/** A session of the sign-out; `reason` is null when it was restored. */
export interface Undone {
  readonly sessionId: string;
  readonly deviceId: string;
  readonly reason: NotRestoredReason | null;
}

export type UndoOutcome =
  | {
      readonly kind: "UNDONE";
      readonly logged: Logged | null;
      readonly deviceRev: number | null;
      readonly sessions: readonly Undone[];
    }
  | { readonly kind: "NOT_FOUND" | "ALREADY_UNDONE" | "WINDOW_PASSED" };

export interface UndoStore {
  /**
   * Restores what it can of the revocation at `seq`, in one transaction with a log row of its own, if the revocation
   * was a sign-out of `userId`'s other devices after `since` and has not been undone. NOT_FOUND when `sessionId` is
   * younger than the revocation: a later sign-in, perhaps a thief's, must not undo it.
   */
  undo(command: {
    readonly userId: string;
    readonly sessionId: string;
    readonly seq: number;
    readonly since: Date;
    readonly now: Date;
  }): Promise<UndoOutcome>;
}

/** The result of an undo. `receipt` is undefined when nothing could be restored. */
export interface Undo {
  readonly receipt: RevocationReceipt | undefined;
  readonly sessions: readonly Undone[];
}

/**
 * Wires the use case. Throws NOT_FOUND/RECEIPT_NOT_FOUND (also for another user's revocation, for one that did not sign
 * out other devices, and for one older than the viewer's session), CONFLICT/ALREADY_UNDONE,
 * CONFLICT/UNDO_WINDOW_PASSED.
 */
export function createUndoSignOut(options: {
  store: UndoStore;
  announce: RevocationAnnouncer;
  now: () => Date;
}): (viewer: Viewer, seq: string) => Promise<Undo> {
  const { store, announce, now } = options;

  return async ({ userId, sessionId }, seq) => {
    const at = now();
    const since = new Date(at.getTime() - UNDO_WINDOW_MS);
    const place = parseSeq(seq);
    if (place === undefined) throw receiptNotFound();
    const outcome = await store.undo({ userId, sessionId, seq: place, since, now: at });
    switch (outcome.kind) {
      case "NOT_FOUND":
        throw receiptNotFound();
      case "ALREADY_UNDONE":
        throw new AppError("CONFLICT", "ALREADY_UNDONE", "This sign-out has been taken back before.");
      case "WINDOW_PASSED":
        throw new AppError("CONFLICT", "UNDO_WINDOW_PASSED", "It is too late to take this sign-out back.");
      case "UNDONE": {
        const { logged, deviceRev, sessions } = outcome;
        if (logged === null || deviceRev === null) return { receipt: undefined, sessions };
        await Promise.all([announce.revoked(logged), announce.devicesChanged(userId, deviceRev)]);
        const count = sessions.filter(({ reason }) => reason === null).length;
        return { receipt: freshReceipt({ seq: logged.seq, at, sessions: count }), sessions };
      }
    }
  };
}
