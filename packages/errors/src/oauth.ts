/**
 * Translates an AppError for an OAuth client (RFC 6749 section 5.2, RFC 9449 sections 5 and 8): the OAuth error code,
 * and our reason in front of the description.
 */
import type { AppError } from "./app-error.ts";
import { HTTP_STATUS, type ErrorCode } from "./codes.ts";

export type OAuthErrorCode =
  | "invalid_request"
  | "invalid_client"
  | "invalid_grant"
  | "unauthorized_client"
  | "unsupported_grant_type"
  | "invalid_dpop_proof"
  | "use_dpop_nonce"
  | "temporarily_unavailable"
  | "server_error";

/** The answer to a refused request. */
export interface OAuthRefusal {
  readonly status: number;
  readonly body: { readonly error: OAuthErrorCode; readonly error_description: string };
}

const BY_REASON: Readonly<Record<string, OAuthErrorCode>> = {
  CLIENT_INVALID: "invalid_client",
  CLIENT_UNAUTHORIZED: "unauthorized_client",
  GRANT_TYPE_UNSUPPORTED: "unsupported_grant_type",
  DPOP_PROOF_INVALID: "invalid_dpop_proof",
  DPOP_REQUIRED: "invalid_dpop_proof",
  DPOP_NONCE_REQUIRED: "use_dpop_nonce",
};

const BY_CODE: Readonly<Record<ErrorCode, OAuthErrorCode>> = {
  UNAUTHENTICATED: "invalid_grant",
  STEP_UP_REQUIRED: "invalid_grant",
  FORBIDDEN: "invalid_grant",
  BAD_USER_INPUT: "invalid_request",
  NOT_FOUND: "invalid_request",
  CONFLICT: "invalid_request",
  RATE_LIMITED: "temporarily_unavailable",
  UNAVAILABLE: "temporarily_unavailable",
  INTERNAL_SERVER_ERROR: "server_error",
};

const STATUS: Readonly<Partial<Record<OAuthErrorCode, number>>> = {
  invalid_client: 401,
  temporarily_unavailable: 503,
  server_error: 500,
};

/** Characters not allowed in `error_description`: anything but printable ASCII, and quotes and backslashes. */
const FOREIGN = /[^\x20-\x21\x23-\x5B\x5D-\x7E]/g;

/** The OAuth response for an AppError. */
export function toOAuthRefusal({ code, reason, message }: AppError): OAuthRefusal {
  const error = BY_REASON[reason] ?? BY_CODE[code];
  return {
    status: code === "RATE_LIMITED" ? HTTP_STATUS[code] : (STATUS[error] ?? 400),
    body: { error, error_description: `${reason}: ${message}`.replaceAll(FOREIGN, "'") },
  };
}
