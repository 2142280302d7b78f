/** Sensitive operations require a recent sign-in (ASVS 7.5.2, RFC 9470). */
import type { Viewer } from "@continuo/access";
import { AppError } from "@continuo/errors";

/** For tokens issued before they carried the policy. */
const DEFAULT_SECONDS = 300;

/**
 * Throws STEP_UP_REQUIRED/AUTHENTICATION_TOO_OLD with `details` { maxAge, acrValues } (RFC 9470 section 3) unless the
 * viewer has signed in as recently as their session's policy requires, according to the access token: a step-up brings
 * a new token.
 */
export function assertRecentSignIn({ authTime, acr, stepUpSeconds = DEFAULT_SECONDS }: Viewer, now: Date): void {
  if (now.getTime() / 1_000 - authTime <= stepUpSeconds) return;
  throw new AppError("STEP_UP_REQUIRED", "AUTHENTICATION_TOO_OLD", "Sign in again to do this.", {
    details: { maxAge: stepUpSeconds, acrValues: [acr] },
  });
}
