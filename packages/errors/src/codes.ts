/**
 * The closed list of error codes: what a client is told, and how it should react.
 * The `reason` beside a code says which case it is; a new case gets a new reason, hardly ever a new code.
 */
export const ERROR_CODES = [
  /** No token, or one that is not (or no longer) valid: refresh, or sign in. */
  "UNAUTHENTICATED",
  /** Known caller, not allowed: stop. */
  "FORBIDDEN",
  /** Input that does not parse: fix the call. */
  "BAD_USER_INPUT",
  /** Absent, or not yours (the same answer, so that ids cannot be probed): stop. */
  "NOT_FOUND",
  /** The state has changed: read again, decide again. */
  "CONFLICT",
  /** Too many requests; `details.retryAfterMs` says when to come back. */
  "RATE_LIMITED",
  /** Authenticate again, more strongly or more recently (RFC 9470). */
  "STEP_UP_REQUIRED",
  /** A dependency is down: retry with backoff. */
  "UNAVAILABLE",
  /** A bug of ours, masked: report the request id. */
  "INTERNAL_SERVER_ERROR",
] as const;

export type ErrorCode = (typeof ERROR_CODES)[number];

/** The HTTP status when a whole request fails with a code. */
export const HTTP_STATUS: Readonly<Record<ErrorCode, number>> = {
  UNAUTHENTICATED: 401,
  FORBIDDEN: 403,
  BAD_USER_INPUT: 400,
  NOT_FOUND: 404,
  CONFLICT: 409,
  RATE_LIMITED: 429,
  STEP_UP_REQUIRED: 401,
  UNAVAILABLE: 503,
  INTERNAL_SERVER_ERROR: 500,
};

/** The outcome of an answer: `OK`, or the gravest code among its errors, which is the one latest in `ERROR_CODES`. */
export function outcomeOf(errors: readonly { readonly extensions?: unknown }[] | undefined): ErrorCode | "OK" {
  if (errors === undefined || errors.length === 0) return "OK";
  const codes = new Set(errors.map(({ extensions }) => codeIn(extensions)));
  return ERROR_CODES.findLast((code) => codes.has(code)) ?? "INTERNAL_SERVER_ERROR";
}

function codeIn(extensions: unknown): unknown {
  return typeof extensions === "object" && extensions !== null && "code" in extensions ? extensions.code : undefined;
}
