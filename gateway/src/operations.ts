/**
 * Operations that arrive over a stream (a socket, an event stream): authorized, prepared and started, and their results
 * serialized. Subscriptions run here; queries and mutations run in the ordinary server, with the same answers as over
 * HTTP.
 */
import { AppError, isAppError } from "@continuo/errors";
import type { Logger } from "@continuo/process";
import {
  type DocumentNode,
  type ExecutionResult,
  type FormattedExecutionResult,
  getOperationAST,
  type GraphQLError,
  OperationTypeNode,
} from "graphql";
import { withNetwork, type ViewerAdmission } from "./caller.ts";
import type { GatewayContext } from "./context.ts";
import { formatGraphQLErrors, toGraphQLError } from "./errors.ts";
import type { Documents } from "./limits/documents.ts";
import { logRefusal } from "./refusals.ts";
import type { RateLimits } from "./rate-limit/rate-limits.ts";
import type { Server } from "./server.ts";
import type { TrustedDocuments } from "./trusted-documents/trusted-documents.ts";
import type { Standing } from "./revocation/standing.ts";
import type { OperationRequest } from "./subscription/run.ts";
import type { Stream, Subscriber } from "./subscription/stream.ts";
import type { PreparedOperation, Subscriptions } from "./subscription/subscriptions.ts";

/** The sender of an operation, and the id to find it in the logs. */
export interface Sender {
  readonly admission: ViewerAdmission;
  readonly requestId: string;
  /** Undefined for this machine. */
  readonly network: string | undefined;
}

/**
 * A prepared operation: it opens a stream of events, or gives one answer. `signal` is aborted when the client no longer
 * waits for it.
 */
export type Operation = { readonly document: DocumentNode } & (
  | { open(subscriber: Subscriber<ExecutionResult>): Stream }
  | { answer(signal?: AbortSignal): Promise<FormattedExecutionResult> }
);

export interface Operations {
  /** Checks that the session is still valid, and prepares the operation. Returns errors instead of throwing. */
  prepare(request: OperationRequest, sender: Sender): Promise<Operation | readonly GraphQLError[]>;
}

/** The most operations that one socket or event stream may run at a time. */
export const OPERATIONS_PER_STREAM = 50;

/** The refusal of an operation beyond that limit. */
export function tooManyOperations(): AppError {
  return new AppError("RATE_LIMITED", "TOO_MANY_OPERATIONS", `At most ${OPERATIONS_PER_STREAM} operations at a time.`);
}

/** Wires it. */
export function createOperations(options: {
  server: Server;
  subscriptions: Subscriptions;
  standing: Standing;
  rates: Pick<RateLimits, "operation">;
  trusted: TrustedDocuments;
  documents: Documents;
  logger: Logger;
}): Operations {
  const { server, subscriptions, standing, rates, trusted, documents, logger } = options;

  function start(prepared: PreparedOperation, request: OperationRequest, context: GatewayContext): Operation {
    const { document } = prepared;
    const { operationName } = request;
    const until = (signal: AbortSignal | undefined): GatewayContext => ({ ...context, ...(signal && { signal }) });
    if ("open" in prepared)
      return {
        document,
        open(subscriber) {
          const { cost } = prepared;
          const { requestId } = context;
          logger.info({ requestId, operation: operationName ?? "subscription", cost }, "subscribed");
          return prepared.open(context, subscriber);
        },
      };
    return {
      document,
      answer: async (signal) => (await server.answer(request, until(signal))).body,
    };
  }

  /** Whether the operation is a query or a mutation. False if the document cannot be read or has no such operation. */
  function isAnswered({ query, operationName }: OperationRequest): boolean {
    try {
      const operation = getOperationAST(documents.read(query), operationName);
      return operation ? operation.operation !== OperationTypeNode.SUBSCRIPTION : false;
    } catch {
      return false;
    }
  }

  return {
    async prepare(asked, { admission, requestId, network }) {
      const { caller, claims, proof } = admission;
      const who = { requestId, sessionId: claims.sid };
      try {
        await standing.assert(claims, "READ");
        const request = { ...asked, query: trusted.textOf(asked) ?? "" };
        // Queries and mutations are counted by the server.
        if (!isAnswered(request)) await rates.operation({ sessionId: claims.sid, network });
        const prepared = subscriptions.prepare(request);
        if (!("document" in prepared)) {
          for (const { extensions } of formatGraphQLErrors(prepared, requestId))
            logRefusal(logger, extensions ?? {}, who);
          return prepared;
        }
        if ("open" in prepared)
          prepared.graph.access.assert(prepared.document, request.operationName ?? undefined, claims);
        return start(prepared, request, {
          caller: withNetwork(caller, network),
          grant: { grantId: claims.gid, generation: claims.gen },
          session: claims,
          ...(proof && { proof }),
          network,
          requestId,
          logger,
        });
      } catch (cause) {
        if (isAppError(cause)) {
          logRefusal(logger, cause, who);
          return [toGraphQLError(cause)];
        }
        logger.error({ err: cause, requestId }, "an operation could not be prepared");
        return [
          toGraphQLError(new AppError("INTERNAL_SERVER_ERROR", "UNEXPECTED", "Something went wrong on our side.")),
        ];
      }
    },
  };
}

const texts = new WeakMap<ExecutionResult, string>();

/**
 * An event as JSON, serialized once for all subscribers that receive it. Only errors are serialized per client, because
 * they contain its request id.
 */
export function toJson(event: ExecutionResult, requestId: string): string {
  if (event.errors) return JSON.stringify(toFormatted(event, requestId));
  const known = texts.get(event) ?? JSON.stringify(toFormatted(event, requestId));
  texts.set(event, known);
  return known;
}

/** A result in its wire format. */
function toFormatted({ data, errors, extensions }: ExecutionResult, requestId: string): FormattedExecutionResult {
  return {
    ...(data !== undefined && { data }),
    ...(errors && { errors: formatGraphQLErrors(errors, requestId) }),
    ...(extensions && { extensions }),
  };
}
