/**
 * Operations that come in over a stream (a socket, an event stream): judged, prepared, started, and put into words.
 * Subscriptions run here, queries and mutations in the ordinary server, with the same answers as over HTTP.
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
import { cameFrom, type ViewerAdmission } from "./caller.ts";
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

/** Who sent an operation, and how it is found in the logs. */
export interface Sender {
  readonly admission: ViewerAdmission;
  readonly requestId: string;
  /** Absent for this machine. */
  readonly network: string | undefined;
}

/** An operation that may run: as a stream of events, or to one answer. `signal`: nobody waits for it any more. */
export type Operation = { readonly document: DocumentNode } & (
  | { open(subscriber: Subscriber<ExecutionResult>): Stream }
  | { answer(signal?: AbortSignal): Promise<FormattedExecutionResult> }
);

export interface Operations {
  /** Asks whether the session stands and prepares the operation. Returns what is wrong instead of throwing. */
  prepare(request: OperationRequest, sender: Sender): Promise<Operation | readonly GraphQLError[]>;
}

/** What one socket, or one event stream, may have under way at a time. */
export const OPERATIONS_PER_STREAM = 50;

/** There are as many. */
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

  /** Whether it is a query or a mutation. What is none of all has been read for nothing. */
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
        // Others are counted where they are answered.
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
          caller: cameFrom(caller, network),
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
 * An event as JSON: written once for all who are told the same. Its errors alone are each client's own, with the request id.
 */
export function toJson(event: ExecutionResult, requestId: string): string {
  if (event.errors) return JSON.stringify(toFormatted(event, requestId));
  const known = texts.get(event) ?? JSON.stringify(toFormatted(event, requestId));
  texts.set(event, known);
  return known;
}

/** A result as it goes over the wire. */
function toFormatted({ data, errors, extensions }: ExecutionResult, requestId: string): FormattedExecutionResult {
  return {
    ...(data !== undefined && { data }),
    ...(errors && { errors: formatGraphQLErrors(errors, requestId) }),
    ...(extensions && { extensions }),
  };
}
