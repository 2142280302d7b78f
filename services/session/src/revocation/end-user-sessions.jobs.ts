/**
 * Identity says that a user was disabled, enabled again or deleted: every session that began with an earlier sign-in ends,
 * and no earlier sign-in opens one from now on. The epoch only rises, so whatever comes twice, late or out of order changes
 * nothing.
 */
import type { JobHandler, UserEvent } from "@continuo/signals";
import type { EndReason } from "../session/session.ts";
import type { RevocationAnnouncer } from "./revocation.ts";

export interface EndUserCommand {
  readonly userId: string;
  readonly epoch: number;
  readonly because: UserEvent["because"];
  /** Why the sessions end that are left: of a user who was enabled again, that they were disabled. */
  readonly reason: Extract<EndReason, "USER_DISABLED" | "USER_DELETED">;
  readonly now: Date;
}

/** What was done. */
export interface UserEnded {
  readonly deviceRev: number;
  readonly sessions: number;
  /** The place in the log; null when no session was there to end. */
  readonly seq: number | null;
}

export interface EndUserSessionsStore {
  /**
   * Raises the epoch, ends the sessions of before it and records the event, in one transaction; undefined when it was that
   * high already. Who was enabled before anybody here heard that they were disabled has both recorded.
   */
  end(command: EndUserCommand): Promise<UserEnded | undefined>;
}

/** The handler. */
export function createEndUserSessions(options: {
  store: EndUserSessionsStore;
  announce: RevocationAnnouncer;
  now: () => Date;
}): JobHandler<UserEvent> {
  const { store, announce, now } = options;
  return async ({ userId, epoch, because }, { logger }) => {
    const reason = because === "DELETED" ? "USER_DELETED" : "USER_DISABLED";
    const ended = await store.end({ userId, epoch, because, reason, now: now() });
    if (ended === undefined) return;
    logger.info({ userId, because, sessions: ended.sessions }, "a user's sessions of before are over");
    await Promise.all([
      ended.seq === null ? undefined : announce.revoked(ended.seq),
      announce.devicesChanged(userId, ended.deviceRev),
    ]);
  };
}
