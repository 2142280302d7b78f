/**
 * What is measured and logged of an operation: one line with its duration, and bugs with their cause, which clients never see.
 */
import { isAppError, outcomeOf } from "@continuo/errors";
import type { OperationMetrics } from "@continuo/process";
import type { GraphQLError, GraphQLFormattedError } from "graphql";
import type { SubgraphContext } from "./context.ts";
import { causeOf } from "./format-error.ts";

interface Observed {
  readonly kind: Parameters<ReturnType<OperationMetrics["begin"]>>[0];
  readonly operationName: string | null | undefined;
  readonly errors: readonly GraphQLFormattedError[] | undefined;
}

/** An operation begins; call the result once with its outcome. */
export type ObserveOperation = () => (operation: Observed, context: Pick<SubgraphContext, "caller" | "logger">) => void;

export function observeOperations(operations: OperationMetrics): ObserveOperation {
  return () => {
    const startedAt = performance.now();
    const end = operations.begin();
    return ({ kind, operationName, errors }, { caller, logger }) => {
      end(kind, outcomeOf(errors));
      logger.info(
        {
          operation: operationName ?? kind,
          ms: Math.round((performance.now() - startedAt) * 10) / 10,
          caller: caller.kind,
          ...(caller.kind === "viewer" && { sessionId: caller.viewer.sessionId }),
        },
        "request",
      );
    };
  };
}

export function logErrors(errors: readonly GraphQLError[], { logger }: SubgraphContext): void {
  for (const error of errors) {
    const cause = causeOf(error);
    if (isAppError(cause)) logger.info({ code: cause.code, reason: cause.reason, err: cause.cause }, cause.message);
    else if (error.originalError) logger.error({ err: cause }, "resolver failed");
  }
}
