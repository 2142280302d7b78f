/** What of a subgraph's error may reach a client: its code, reason and details when they are of our making, nothing else. */
import { type AppError, ERROR_CODES, type ErrorCode } from "@continuo/errors";

/** An error as it stands in a GraphQL answer. */
export interface SubgraphError {
  readonly message: string;
  readonly path?: readonly (string | number)[];
  readonly extensions: { readonly code: ErrorCode; readonly reason: string; readonly details?: unknown };
}

/** Reasons that say the gateway asked wrongly: a fault between us, and none of the client's business. */
const OURS = new Set([
  "INTERNAL_IDENTITY_REQUIRED",
  "DOCUMENT_INVALID",
  "OPERATION_UNKNOWN",
  "REQUEST_INVALID",
  "ROUTE_UNKNOWN",
  "BODY_TOO_LARGE",
]);

/** In one answer. A subgraph may send, and places multiply, as many as there is memory. */
export const MOST_ERRORS = 1_000;

export const UNAVAILABLE: SubgraphError = {
  message: "A part of the service is not available right now.",
  extensions: { code: "UNAVAILABLE", reason: "SUBGRAPH_UNAVAILABLE" },
};

export const UNEXPECTED: SubgraphError = {
  message: "Something went wrong on our side.",
  extensions: { code: "INTERNAL_SERVER_ERROR", reason: "UNEXPECTED" },
};

/** Takes an error as a subgraph sent it. What is not of our shape comes out masked, with its path. */
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

/** An error of our own in the clothes of a subgraph's. */
export function toSubgraphError({ message, code, reason, details }: AppError): SubgraphError {
  return { message, extensions: { code, reason, ...(details !== undefined && { details }) } };
}

/** The longest time that one of `errors` asks to wait, by `details.retryAfterMs`; 0 if none does. Milliseconds. */
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
