/**
 * The events of users that cross services, as jobs: identity posts them with the change that they tell of, whoever keeps
 * something of the user does them. Each comes more than once, and in any order: `epoch` says which is the newest.
 */
import { z } from "zod";
import { defineJob } from "./jobs.ts";

const UserEvent = z.object({
  userId: z.uuid(),
  /** The user's, raised by the change: sign-ins of an older one are void. */
  epoch: z.number().int().positive(),
  because: z.enum(["DISABLED", "ENABLED", "DELETED", "PASSWORD_CHANGED"]),
});
export type UserEvent = z.infer<typeof UserEvent>;

const persistent = { schema: UserEvent, attempts: 15, backoffMs: 1_000 };

/**
 * Done by session: no session will begin with an older sign-in, and none goes on that did, unless just the password was
 * changed.
 */
export const applyUserEvents = defineJob({
  ...persistent,
  name: "apply-user-events",
  formerly: ["end-user-sessions"],
});

/** Done by user-state, of users that were deleted: nothing of theirs is kept. */
export const eraseUserState = defineJob({ ...persistent, name: "erase-user-state" });
