/**
 * Subscriptions that a subgraph runs by itself (`@streamed`): prepared like any operation, then run while somebody
 * wants them. Independent of any transport.
 */
import type { Caller } from "@continuo/access";
import {
  type DocumentNode,
  type ExecutionResult,
  GraphQLError,
  type GraphQLFormattedError,
  type GraphQLSchema,
  OperationTypeNode,
  subscribe,
} from "graphql";
import type { SubgraphContext } from "./context.ts";
import { formatError, formatFault } from "./format-error.ts";
import { logErrors } from "./observe-operation.ts";
import { formatFaults, type OperationRequest, readOperation } from "./run-operation.ts";

/** Who asks, and the id for finding it in the logs. */
export interface StreamScope {
  readonly caller: Caller;
  readonly requestId: string;
  readonly signal?: AbortSignal | undefined;
}

/** Events with formatted errors. `return` takes effect at once, even while the next event is pending. */
export type Events = AsyncIterableIterator<ExecutionResult, undefined>;

export interface Streams {
  /** Whether the subgraph streams any field. */
  readonly exist: boolean;
  /** Parses and validates a subscription. Returns errors instead of throwing. */
  read(request: OperationRequest): DocumentNode | readonly GraphQLError[];
  /**
   * Starts a subscription that was read, until the caller leaves. An answer instead of events has no data, and says why
   * it could not begin.
   */
  begin(document: DocumentNode, request: OperationRequest, scope: StreamScope): Promise<Events | ExecutionResult>;
}

/** `context` is called once per subscription: its `signal` aborts and `answered` resolves when nobody wants it any more. */
export function createStreams(
  schema: GraphQLSchema,
  context: (scope: Pick<SubgraphContext, "caller" | "requestId" | "signal" | "answered">) => SubgraphContext,
): Streams {
  const fields = Object.values(schema.getSubscriptionType()?.getFields() ?? {});
  return {
    exist: fields.some((field) => field.subscribe !== undefined),
    read(request) {
      const read = readOperation(schema, request);
      if ("fault" in read) return formatFaults(read).map(toGraphQLError);
      if (read.operation.operation === OperationTypeNode.SUBSCRIPTION) return read.document;
      return [toGraphQLError(formatFault(new GraphQLError("Only subscriptions are streamed."), "REQUEST_INVALID"))];
    },
    async begin(document, { variables, operationName }, { signal, ...scope }) {
      const leaving = new AbortController();
      const over = Promise.withResolvers<void>();
      leaving.signal.addEventListener("abort", () => over.resolve(), { once: true });
      const contextValue = context({ ...scope, signal: leaving.signal, answered: over.promise });
      const { caller, logger } = contextValue;
      const who = caller.kind === "viewer" ? { sessionId: caller.viewer.sessionId } : {};
      logger.info({ operation: operationName ?? "subscription", caller: caller.kind, ...who }, "subscribed");
      const begun = await subscribe({ schema, document, operationName, contextValue, variableValues: variables });
      if (!(Symbol.asyncIterator in begun)) {
        leaving.abort();
        return formatResult(begun, contextValue);
      }
      const events = cancellable(begun, leaving, (result) => formatResult(result, contextValue));
      const leave = (): void => void events.return?.();
      if (signal?.aborted) leave();
      signal?.addEventListener("abort", leave, { once: true });
      leaving.signal.addEventListener("abort", () => signal?.removeEventListener("abort", leave), { once: true });
      return events;
    },
  };
}

/** Formats a result as it leaves the subgraph. Logs bugs. */
function formatResult({ data, errors }: ExecutionResult, context: SubgraphContext): ExecutionResult {
  const known = data === undefined ? {} : { data };
  if (!errors) return known;
  logErrors(errors, context);
  return { ...known, errors: errors.map((error) => toGraphQLError(formatError(error))) };
}

function toGraphQLError({ message, path, extensions }: GraphQLFormattedError): GraphQLError {
  return new GraphQLError(message, { path: path ?? null, extensions: extensions ?? null });
}

/** A generator's results, without waiting for the next one in order to leave. */
function cancellable(
  results: AsyncGenerator<ExecutionResult, void, void>,
  leaving: AbortController,
  told: (result: ExecutionResult) => ExecutionResult,
): Events {
  const { signal } = leaving;
  const DONE = { done: true, value: undefined } as const;
  let letGo = (): void => undefined;

  async function next(): Promise<IteratorResult<ExecutionResult, undefined>> {
    try {
      const result = await results.next();
      if (!result.done && !signal.aborted) return { done: false, value: told(result.value) };
    } catch (cause) {
      if (!signal.aborted) throw cause;
    }
    leaving.abort();
    return DONE;
  }

  const events: Events = {
    [Symbol.asyncIterator]: () => events,
    next: () =>
      new Promise((resolve, reject) => {
        if (signal.aborted) return resolve(DONE);
        letGo = () => resolve(DONE);
        next().then(resolve, (cause: unknown) => {
          leaving.abort();
          reject(cause);
        });
      }),
    async return() {
      if (!signal.aborted) {
        leaving.abort();
        letGo();
        results.return(undefined).catch(() => undefined);
      }
      return DONE;
    },
  };
  return events;
}
