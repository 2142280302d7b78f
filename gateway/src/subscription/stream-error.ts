import { AppError, isAppError } from "@continuo/errors";
import type { Logger } from "@continuo/process";
import { GraphQLError } from "graphql";
import { toGraphQLError } from "../errors.ts";
import { longestRetryAfterMs, type SubgraphError, UNEXPECTED } from "../subgraph/subgraph-error.ts";

/** The owner's answer has no batch. Ends the stream, unless it is an outage that may pass. */
export class StreamError extends Error {
  override readonly name = "StreamError";
  readonly errors: readonly GraphQLError[];
  /** Whether a later read may succeed without any action by the client. */
  readonly isOutage: boolean;
  /** The longest `retryAfterMs` among the errors; 0 if none has one. */
  readonly retryAfterMs: number;

  constructor(errors: readonly SubgraphError[]) {
    const told = errors.length > 0 ? errors : [UNEXPECTED];
    super(told.map(({ extensions }) => `${extensions.code} ${extensions.reason}`).join(", "));
    this.errors = told.map(
      ({ message, path, extensions }) => new GraphQLError(message, { path: path ?? null, extensions }),
    );
    this.isOutage = told.every(({ extensions: { code } }) => code === "UNAVAILABLE" || code === "RATE_LIMITED");
    this.retryAfterMs = longestRetryAfterMs(told);
  }
}

/** The final errors for the client after `thrown` ended its stream; a bug is logged and masked. */
export function lastWords(thrown: unknown, logger: Logger): readonly GraphQLError[] {
  if (thrown instanceof StreamError) return thrown.errors;
  if (isAppError(thrown)) return [toGraphQLError(thrown)];
  logger.error({ err: thrown }, "a subscription failed");
  return [toGraphQLError(new AppError("INTERNAL_SERVER_ERROR", "UNEXPECTED", UNEXPECTED.message))];
}
