/** Erases all state of a user whom identity reports as deleted. A repeated event erases what may have arrived since. */
import type { JobHandler, UserEvent } from "@continuo/signals";
import type { Erase } from "./erasure.ts";

/** The job handler; it logs the receipt. */
export function createEraseUserState(erase: Erase): JobHandler<UserEvent> {
  return async ({ userId }, { logger }) => {
    const { at, namespaces, outcomes, replicas } = await erase({ userId, namespaces: undefined });
    logger.info({ userId, at, namespaces, outcomes, replicas }, "the state of a deleted user is erased");
  };
}
