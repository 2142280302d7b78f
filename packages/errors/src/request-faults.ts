/** GraphQL's complaints about a request, by the code that Apollo Server gives them, and the reason that we give for each. */
const REASONS: Readonly<Record<string, string>> = {
  GRAPHQL_PARSE_FAILED: "DOCUMENT_INVALID",
  GRAPHQL_VALIDATION_FAILED: "DOCUMENT_INVALID",
  BAD_USER_INPUT: "VARIABLES_INVALID",
  BAD_REQUEST: "REQUEST_INVALID",
  OPERATION_RESOLUTION_FAILURE: "OPERATION_UNKNOWN",
  PERSISTED_QUERY_NOT_FOUND: "PERSISTED_QUERY_NOT_FOUND",
  PERSISTED_QUERY_NOT_SUPPORTED: "PERSISTED_QUERY_NOT_SUPPORTED",
};

/** The reason of a BAD_USER_INPUT that GraphQL itself raised; undefined when `apolloCode` is none of its complaints. */
export function requestFaultReason(apolloCode: unknown): string | undefined {
  return typeof apolloCode === "string" && Object.hasOwn(REASONS, apolloCode) ? REASONS[apolloCode] : undefined;
}
