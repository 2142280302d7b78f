/**
 * User events that cross services, as jobs: identity posts them in the same statement as the change, and the services
 * that keep data of the user handle them. Each arrives more than once, in any order: `epoch` says which is the newest.
 */
import { z } from "zod";
import { defineJob } from "./jobs.ts";

const UserEvent = z.object({
  userId: z.uuid(),
  /** The user's epoch, raised by the change: sign-ins of a lower epoch are void. */
  epoch: z.number().int().positive(),
  because: z.enum(["DISABLED", "ENABLED", "DELETED", "PASSWORD_CHANGED"]),
});
export type UserEvent = z.infer<typeof UserEvent>;

const persistent = { schema: UserEvent, attempts: 15, backoffMs: 1_000 };

/**
 * Handled by session: no session starts from a sign-in of a lower epoch, and sessions that did are ended, unless only
 * the password changed.
 */
export const applyUserEvents = defineJob({
  ...persistent,
  name: "apply-user-events",
  formerly: ["end-user-sessions"],
});

/** Handled by user-state, for deleted users: it keeps none of their data. */
export const eraseUserState = defineJob({ ...persistent, name: "erase-user-state" });
