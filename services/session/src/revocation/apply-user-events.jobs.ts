/**
 * Applies identity's user events. When a user was disabled, enabled again or deleted, every session from an earlier
 * sign-in ends, and no earlier sign-in opens one any more. A changed password ends no session: the user chooses which
 * to end.
 * The epoch only rises, so events that arrive twice, late or out of order do no harm.
 */
import type { JobHandler, UserEvent } from "@continuo/signals";
import type { SecurityEventType } from "../audit/security-event.ts";
import type { EndReason } from "../session/session.ts";
import type { Logged, RevocationAnnouncer } from "./revocation.ts";

type UserEventType = Extract<SecurityEventType, "USER_DISABLED" | "USER_ENABLED" | "USER_DELETED" | "PASSWORD_CHANGED">;

/**
 * The event type to record and the reason why sessions end. ENABLED also ends those from before the user was disabled.
 */
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
  /** Why the remaining sessions end; null when none do. */
  readonly reason: Extract<EndReason, "USER_DISABLED" | "USER_DELETED"> | null;
  readonly now: Date;
}

/** The effect of an event. */
export interface UserEnded {
  readonly deviceRev: number;
  readonly sessions: number;
  /** Null when there was no session to end. */
  readonly logged: Logged | null;
}

export interface ApplyUserEventsStore {
  /**
   * Raises the epoch, ends the sessions of lower epochs and records the event, in one transaction; undefined when the
   * event is not due. An event is due while its epoch is above the known one; one that ends no session only when it is
   * the next, so that a late USER_DISABLED still has its effect, and a repetition of the event applies it then. If
   * USER_ENABLED arrives before its USER_DISABLED, both are recorded.
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
