/** The id of the operation under way: what shapes errors deep inside Apollo has no other way to know it. */
import { AsyncLocalStorage } from "node:async_hooks";

const current = new AsyncLocalStorage<string>();

/** Runs `operation` with a request id that `currentRequestId` then tells. */
export function withRequestId<Result>(requestId: string, operation: () => Result): Result {
  return current.run(requestId, operation);
}

/** The request id of the operation under way, if there is one. */
export function currentRequestId(): string | undefined {
  return current.getStore();
}
