/**
 * Formats every error that leaves a service: code, reason, details; never a stack, SQL or a subgraph's internal messages.
 * An error that is not an AppError is GraphQL's complaint about the request, an unreachable dependency, or a bug, which
 * is masked.
 */
import { isAppError } from "@continuo/errors";
import type { GraphQLError, GraphQLFormattedError } from "graphql";
import { isOutage } from "./outage.ts";

/** Our reasons for GraphQL's complaints about a request of which nothing was run. */
export type FaultReason =
  | "DOCUMENT_INVALID"
  | "VARIABLES_INVALID"
  | "OPERATION_UNKNOWN"
  | "REQUEST_INVALID"
  | "SUBSCRIPTION_AT_GATEWAY";

/** Formats an error of an operation that ran. */
export function formatError(error: GraphQLError): GraphQLFormattedError {
  const { message, extensions } = wordsFor(causeOf(error));
  return { message, ...placeOf(error), extensions };
}

/** Formats an error in the request itself. */
export function formatFault(error: GraphQLError, reason: FaultReason): GraphQLFormattedError {
  return { message: error.message, ...placeOf(error), extensions: { code: "BAD_USER_INPUT", reason } };
}

/** The error as it was thrown. */
export function causeOf(error: GraphQLError): unknown {
  return error.originalError ?? error;
}

function placeOf({ path, locations }: GraphQLError): Pick<GraphQLFormattedError, "path" | "locations"> {
  return { ...(path && { path }), ...(locations && { locations }) };
}

function wordsFor(cause: unknown): Required<Pick<GraphQLFormattedError, "message" | "extensions">> {
  if (isAppError(cause)) {
    const { message, code, reason, details } = cause;
    return { message, extensions: { code, reason, ...(details && { details }) } };
  }
  if (isOutage(cause))
    return {
      message: "A part of the service cannot be reached right now.",
      extensions: { code: "UNAVAILABLE", reason: "DEPENDENCY_UNAVAILABLE" },
    };
  return {
    message: "Something went wrong on our side.",
    extensions: { code: "INTERNAL_SERVER_ERROR", reason: "UNEXPECTED" },
  };
}
