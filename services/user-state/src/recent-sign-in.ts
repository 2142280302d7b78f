/** What is sensitive is for somebody who has signed in a short while ago (ASVS 7.5.2, RFC 9470). */
import type { Viewer } from "@continuo/access";
import { AppError } from "@continuo/errors";

/**
 * Throws STEP_UP_REQUIRED/AUTHENTICATION_TOO_OLD with `details` { maxAge, acrValues } (RFC 9470 section 3) unless the viewer
 * has signed in within `maxAgeSeconds`. As the access token says it: a step-up brings another one.
 */
export function assertRecentSignIn({ authTime, acr }: Viewer, maxAgeSeconds: number, now: Date): void {
  if (now.getTime() / 1_000 - authTime <= maxAgeSeconds) return;
  throw new AppError("STEP_UP_REQUIRED", "AUTHENTICATION_TOO_OLD", "Sign in again to do this.", {
    details: { maxAge: maxAgeSeconds, acrValues: [acr] },
  });
}
