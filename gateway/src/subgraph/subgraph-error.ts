/** What clients may see of a subgraph's error: code, reason and details if they have our format, nothing else. */
import { type AppError, ERROR_CODES, type ErrorCode } from "@continuo/errors";

/** An error in a GraphQL answer. */
export interface SubgraphError {
  readonly message: string;
  readonly path?: readonly (string | number)[];
  readonly extensions: { readonly code: ErrorCode; readonly reason: string; readonly details?: unknown };
}

/**
 * Reasons that mean the gateway's request was at fault, which is a bug between our services and is hidden from clients.
 */
const OURS = new Set([
  "INTERNAL_IDENTITY_REQUIRED",
  "DOCUMENT_INVALID",
  "OPERATION_UNKNOWN",
  "REQUEST_INVALID",
  "ROUTE_UNKNOWN",
  "BODY_TOO_LARGE",
]);

/** The most errors in one answer. Otherwise a subgraph could send, and the places of a fetch multiply, any number. */
export const MOST_ERRORS = 1_000;

export const UNAVAILABLE: SubgraphError = {
  message: "A part of the service is not available right now.",
  extensions: { code: "UNAVAILABLE", reason: "SUBGRAPH_UNAVAILABLE" },
};

export const UNEXPECTED: SubgraphError = {
  message: "Something went wrong on our side.",
  extensions: { code: "INTERNAL_SERVER_ERROR", reason: "UNEXPECTED" },
};

/** Converts an error from a subgraph. One that does not have our format is masked and keeps its path. */
export function fromSubgraph(sent: unknown): SubgraphError {
  if (!isRecord(sent)) return UNEXPECTED;
  const place = isPath(sent["path"]) ? { path: sent["path"] } : {};
  const extensions = isRecord(sent["extensions"]) ? sent["extensions"] : {};
  const { code, reason, details } = extensions;
  if (!isErrorCode(code) || typeof reason !== "string" || typeof sent["message"] !== "string" || OURS.has(reason))
    return { ...UNEXPECTED, ...place };
  if (code === "INTERNAL_SERVER_ERROR") return { ...UNEXPECTED, ...place };
  return {
    message: sent["message"],
    ...place,
    extensions: { code, reason, ...(details !== undefined && { details }) },
  };
}

/** Our own error in the format of a subgraph's. */
export function toSubgraphError({ message, code, reason, details }: AppError): SubgraphError {
  return { message, extensions: { code, reason, ...(details !== undefined && { details }) } };
}

/** The longest `details.retryAfterMs` among `errors`; 0 if none has one. Milliseconds. */
export function longestRetryAfterMs(errors: readonly { readonly extensions?: unknown }[]): number {
  return errors.reduce((longest, { extensions }) => {
    const details = isRecord(extensions) ? extensions["details"] : undefined;
    const asked = isRecord(details) ? details["retryAfterMs"] : undefined;
    return typeof asked === "number" ? Math.max(longest, asked) : longest;
  }, 0);
}

/** Whether something is one of our codes. */
export function isErrorCode(code: unknown): code is ErrorCode {
  return ERROR_CODES.some((known) => known === code);
}

/** Whether something parsed from JSON is an object. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isPath(value: unknown): value is (string | number)[] {
  return Array.isArray(value) && value.every((part) => typeof part === "string" || typeof part === "number");
}
