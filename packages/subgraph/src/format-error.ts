/**
 * Shapes every error that leaves a service: code, reason, details; never a stack, SQL or a subgraph's inner words.
 * What is not an AppError is either GraphQL's own complaint about the request, or a bug that is masked.
 */
import { unwrapResolverError } from "@apollo/server/errors";
import { isAppError } from "@continuo/errors";
import type { GraphQLFormattedError } from "graphql";

/** GraphQL's complaints about a request, by Apollo's code, and the reason we give for each. */
const REQUEST_FAULTS: Readonly<Record<string, string>> = {
  GRAPHQL_PARSE_FAILED: "DOCUMENT_INVALID",
  GRAPHQL_VALIDATION_FAILED: "DOCUMENT_INVALID",
  BAD_USER_INPUT: "VARIABLES_INVALID",
  BAD_REQUEST: "REQUEST_INVALID",
  OPERATION_RESOLUTION_FAILURE: "OPERATION_UNKNOWN",
  PERSISTED_QUERY_NOT_FOUND: "PERSISTED_QUERY_NOT_FOUND",
  PERSISTED_QUERY_NOT_SUPPORTED: "PERSISTED_QUERY_NOT_SUPPORTED",
};

/** For ApolloServer's `formatError`. */
export function formatError(formatted: GraphQLFormattedError, thrown: unknown): GraphQLFormattedError {
  const error = unwrapResolverError(thrown);
  const place = {
    ...(formatted.path && { path: formatted.path }),
    ...(formatted.locations && { locations: formatted.locations }),
  };
  if (isAppError(error)) {
    const { code, reason, details } = error;
    return { message: error.message, ...place, extensions: { code, reason, ...(details && { details }) } };
  }
  const code = formatted.extensions?.["code"];
  const reason = typeof code === "string" ? REQUEST_FAULTS[code] : undefined;
  if (reason !== undefined)
    return { message: formatted.message, ...place, extensions: { code: "BAD_USER_INPUT", reason } };
  return {
    message: "Something went wrong on our side.",
    ...place,
    extensions: { code: "INTERNAL_SERVER_ERROR", reason: "UNEXPECTED" },
  };
}
