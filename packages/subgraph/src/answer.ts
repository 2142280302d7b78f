import type { SubgraphContext } from "./context.ts";
import type { ObserveOperation } from "./observe-operation.ts";
import type { OperationAnswer, OperationRequest, RunOperation } from "./run-operation.ts";

/** The caller of an operation, and how long it waits for the answer. */
export type AnswerScope = Omit<SubgraphContext, "logger">;

/** Answers a query or a mutation. Never rejects: errors are part of the answer. */
export type Answer = (request: OperationRequest, scope: AnswerScope) => Promise<OperationAnswer>;

/** Runs an operation and observes it, the same way over HTTP and in this process. */
export function createAnswer<Context extends SubgraphContext>(options: {
  run: RunOperation<Context>;
  observe: ObserveOperation;
  context: (scope: AnswerScope) => Context;
}): Answer {
  const { run, observe, context } = options;
  return async (request, scope) => {
    const end = observe();
    const contextValue = context(scope);
    const kind = request.query.startsWith("mutation") ? "mutation" : "query";
    let errors: OperationAnswer["errors"];
    try {
      const answer = await run(request, contextValue);
      ({ errors } = answer);
      return answer;
    } finally {
      end({ kind, operationName: request.operationName, errors }, contextValue);
    }
  };
}
