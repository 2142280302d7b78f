/**
 * Identity says that a user was disabled or deleted: every session that began with an earlier sign-in ends, and no earlier
 * sign-in opens one from now on. The epoch only rises, so whatever comes twice, late or out of order changes nothing.
 */
import type { JobHandler, UserEvent } from "@continuo/signals";
import type { EndReason } from "../session/session.ts";
import type { RevocationAnnouncer } from "./revocation.ts";

export interface EndUserCommand {
  readonly userId: string;
  readonly epoch: number;
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
  /** Raises the epoch and ends the sessions of before it, in one transaction; undefined when it was that high already. */
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
    const ended = await store.end({ userId, epoch, reason: `USER_${because}`, now: now() });
    if (ended === undefined) return;
    logger.info({ userId, because, sessions: ended.sessions }, "the sessions of a user have ended");
    await Promise.all([
      ended.seq === null ? undefined : announce.revoked(ended.seq),
      announce.devicesChanged(userId, ended.deviceRev),
    ]);
  };
}
