/** Identity says that a user was deleted: nothing of theirs is kept. Said again, it erases what may have come meanwhile. */
import type { JobHandler, UserEvent } from "@continuo/signals";
import type { Erase } from "./erasure.ts";

/** The handler; the receipt goes to the log. */
export function createEraseUserState(erase: Erase): JobHandler<UserEvent> {
  return async ({ userId }, { logger }) => {
    const { at, namespaces, outcomes, replicas } = await erase({ userId, namespaces: undefined });
    logger.info({ userId, at, namespaces, outcomes, replicas }, "the state of a deleted user is erased");
  };
}
