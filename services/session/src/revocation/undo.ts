/**
 * Undoing a sign-out: who signed out other devices by mistake takes it back for a short while. Until then the sign-out
 * holds everywhere; only devices that still prove their key by each request come back.
 */
import type { Viewer } from "@continuo/access";
import { AppError } from "@continuo/errors";
import {
  heardNothing,
  parseSeq,
  receiptNotFound,
  type Logged,
  type RevocationAnnouncer,
  type RevocationReceipt,
} from "./revocation.ts";

/** How long a sign-out can be taken back. Milliseconds. */
const UNDO_WINDOW_MS = 10 * 60_000;

/** Why a session stays ended although its sign-out was taken back. */
export type NotRestoredReason =
  /** It is bound to no key: whoever holds a copy of its tokens would come back as well. */
  | "NO_KEY"
  /** A deadline has passed meanwhile. */
  | "EXPIRED"
  /** Somebody has signed in again on the device. */
  | "SIGNED_IN_AGAIN"
  /** As many sessions as the policy allows are there already. */
  | "SESSION_LIMIT_REACHED";

/** A session of the sign-out, and what became of it; `reason` is null for one that is back. */
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
   * Gives back what can be given back of the revocation at `seq`, if `userId` asked for it after `since`, as a signing-out
   * of others, and it has not been taken back: in one transaction with its own row in the log. For a session that is
   * younger than the revocation there is none: a sign-in, perhaps a thief's, undoes no sign-out that came before it.
   */
  undo(command: {
    readonly userId: string;
    readonly sessionId: string;
    readonly seq: number;
    readonly since: Date;
    readonly now: Date;
  }): Promise<UndoOutcome>;
}

/** What came of it. `receipt` is undefined when nothing could be given back. */
export interface Undo {
  readonly receipt: RevocationReceipt | undefined;
  readonly sessions: readonly Undone[];
}

/**
 * Wires the use case. Throws NOT_FOUND/RECEIPT_NOT_FOUND (also for somebody else's, for what was no signing-out of
 * others, and for one before the viewer's sign-in), CONFLICT/ALREADY_UNDONE, CONFLICT/UNDO_WINDOW_PASSED.
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
        return { receipt: heardNothing({ seq: logged.seq, at, sessions: count }), sessions };
      }
    }
  };
}
