/**
 * Shapes every error that leaves a service: code, reason, details; never a stack, SQL or a subgraph's inner words.
 * What is not an AppError is GraphQL's own complaint about the request, a dependency that is away, or a bug that is masked.
 */
import { unwrapResolverError } from "@apollo/server/errors";
import { isAppError, requestFaultReason } from "@continuo/errors";
import type { GraphQLFormattedError } from "graphql";
import { isOutage } from "./outage.ts";

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
  const reason = requestFaultReason(formatted.extensions?.["code"]);
  if (reason !== undefined)
    return { message: formatted.message, ...place, extensions: { code: "BAD_USER_INPUT", reason } };
  if (isOutage(error))
    return {
      message: "A part of the service cannot be reached right now.",
      ...place,
      extensions: { code: "UNAVAILABLE", reason: "DEPENDENCY_UNAVAILABLE" },
    };
  return {
    message: "Something went wrong on our side.",
    ...place,
    extensions: { code: "INTERNAL_SERVER_ERROR", reason: "UNEXPECTED" },
  };
}
