/**
 * Identity says that a user was disabled, enabled again or deleted: every session that began with an earlier sign-in ends,
 * and no earlier sign-in opens one from now on. That one's password was changed ends none: they say which of theirs end.
 * The epoch only rises, so whatever comes twice, late or out of order changes nothing.
 */
import type { JobHandler, UserEvent } from "@continuo/signals";
import type { SecurityEventType } from "../audit/security-event.ts";
import type { EndReason } from "../session/session.ts";
import type { Logged, RevocationAnnouncer } from "./revocation.ts";

type UserEventType = Extract<SecurityEventType, "USER_DISABLED" | "USER_ENABLED" | "USER_DELETED" | "PASSWORD_CHANGED">;

/** What is recorded, and why sessions end: those of a user who was enabled again, as they were disabled. */
const MEANS: Readonly<Record<UserEvent["because"], Pick<EndUserCommand, "type" | "reason">>> = {
  DISABLED: { type: "USER_DISABLED", reason: "USER_DISABLED" },
  ENABLED: { type: "USER_ENABLED", reason: "USER_DISABLED" },
  DELETED: { type: "USER_DELETED", reason: "USER_DELETED" },
  PASSWORD_CHANGED: { type: "PASSWORD_CHANGED", reason: null },
};

export interface EndUserCommand {
  readonly userId: string;
  readonly epoch: number;
  readonly type: UserEventType;
  /** Why the sessions end that are left; null when none do. */
  readonly reason: Extract<EndReason, "USER_DISABLED" | "USER_DELETED"> | null;
  readonly now: Date;
}

/** What was done. */
export interface UserEnded {
  readonly deviceRev: number;
  readonly sessions: number;
  /** Null when no session was there to end. */
  readonly logged: Logged | null;
}

export interface ApplyUserEventsStore {
  /**
   * Raises the epoch, ends the sessions of before it and records the event, in one transaction; undefined when it was that
   * high already. What ends no session waits, for when it is said again, until all before it was heard: a disabling that
   * comes late still ends what it has to. Who was enabled before anybody here heard that they were disabled has both recorded.
   */
  end(command: EndUserCommand): Promise<UserEnded | undefined>;
}

/** The handler. */
export function createApplyUserEvents(options: {
  store: ApplyUserEventsStore;
  announce: RevocationAnnouncer;
  now: () => Date;
}): JobHandler<UserEvent> {
  const { store, announce, now } = options;
  return async ({ userId, epoch, because }, { logger }) => {
    const ended = await store.end({ userId, epoch, ...MEANS[because], now: now() });
    if (ended === undefined) return;
    logger.info({ userId, because, sessions: ended.sessions }, "what was said of a user is done");
    await Promise.all([
      ended.logged && announce.revoked(ended.logged),
      announce.devicesChanged(userId, ended.deviceRev),
    ]);
  };
}
