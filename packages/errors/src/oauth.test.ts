import { describe, expect, it } from "vitest";
import { AppError } from "./app-error.ts";
import { ERROR_CODES, type ErrorCode } from "./codes.ts";
import { toOAuthRefusal } from "./oauth.ts";

const said = (code: ErrorCode, reason: string, message = "No."): string => {
  const { status, body } = toOAuthRefusal(new AppError(code, reason, message));
  return `${status} ${body.error} ${body.error_description}`;
};

describe("a refusal in OAuth's words", () => {
  it.each([
    ["UNAUTHENTICATED", "SESSION_ENDED", "400 invalid_grant"],
    ["UNAUTHENTICATED", "CLIENT_INVALID", "401 invalid_client"],
    ["UNAUTHENTICATED", "DPOP_PROOF_INVALID", "400 invalid_dpop_proof"],
    ["UNAUTHENTICATED", "DPOP_NONCE_REQUIRED", "400 use_dpop_nonce"],
    ["BAD_USER_INPUT", "GRANT_TYPE_UNSUPPORTED", "400 unsupported_grant_type"],
    ["BAD_USER_INPUT", "PARAMETER_MISSING", "400 invalid_request"],
    ["FORBIDDEN", "CLIENT_UNAUTHORIZED", "400 unauthorized_client"],
    ["RATE_LIMITED", "NETWORK_RATE", "429 temporarily_unavailable"],
    ["UNAVAILABLE", "REPLAY_UNKNOWN", "503 temporarily_unavailable"],
    ["INTERNAL_SERVER_ERROR", "UNEXPECTED", "500 server_error"],
  ] as const)("is, for %s %s: %s", (code, reason, expected) => {
    expect(said(code, reason)).toBe(`${expected} ${reason}: No.`);
  });

  it("has a word for each code, and only characters that a description may have", () => {
    for (const code of ERROR_CODES) expect(said(code, "X")).toMatch(/^\d{3} \w+ X: No\.$/);
    expect(said("CONFLICT", "X", 'a "b" \\ é\n')).toBe("400 invalid_request X: a 'b' ' ''");
  });
});
