/**
 * The rules an application sets for its sessions: how long, how many, how sure. Versioned; a session lives under the
 * version it was started with.
 */
import { Posture } from "@continuo/access";
import { AppError } from "@continuo/errors";
import { z } from "zod";

/** What happens to a sign-in when the user already has as many live sessions as the policy allows. */
export const AtLimit = z.enum(["EVICT_OLDEST", "REFUSE"]);

/** Whether tokens must be bound to a key of the device (DPoP, RFC 9449), or only are where a client offers one. */
export const DeviceBinding = z.enum(["NONE", "DPOP"]);

/** A row of `policies`. Durations are seconds. */
export const Policy = z.object({
  applicationId: z.string(),
  version: z.number().int(),
  idleSeconds: z.number().int().positive(),
  absoluteSeconds: z.number().int().positive(),
  accessTokenSeconds: z.number().int().positive(),
  maxSessions: z.number().int().positive(),
  atLimit: AtLimit,
  requiredAcr: z.string().nullable(),
  deviceBinding: DeviceBinding,
  /** How long ago somebody may have authenticated for what is sensitive (RFC 9470 max_age). */
  stepUpSeconds: z.number().int().positive(),
  /** Whether the application's clients may keep state on the device. */
  persistence: z.boolean(),
  posture: Posture,
});
export type Policy = z.infer<typeof Policy>;

/** The longest life of any access token: what a policy may say at most, and how long a revocation must be remembered. */
export const LONGEST_ACCESS_TOKEN_SECONDS = 900;

/** Reads of applications and their policies. */
export interface PolicyStore {
  /** The policy that governs new sessions of an application; undefined when there is no such application or none is active. */
  active(applicationId: string): Promise<Policy | undefined>;
  /** One version of an application's policy; a version never changes once it has been active. */
  version(applicationId: string, version: number): Promise<Policy | undefined>;
  /** In the order of `ids`, undefined where there is none. */
  applications(ids: readonly string[]): Promise<({ id: string; name: string } | undefined)[]>;
}

/** The deadlines of a session that starts at `now`. */
export function deadlinesFrom(policy: Policy, now: Date): { idleDeadline: Date; absoluteDeadline: Date } {
  return {
    idleDeadline: new Date(now.getTime() + policy.idleSeconds * 1_000),
    absoluteDeadline: new Date(now.getTime() + policy.absoluteSeconds * 1_000),
  };
}

/** Authentication context classes in ascending order (NIST SP 800-63B-4 section 2). */
export const ACR_ORDER = ["aal1", "aal2", "aal3"];

/** Whether `acr` is at least what is required; a class that is not one of ours suffices only for itself. */
export function acrSuffices(acr: string, required: string | null): boolean {
  if (required === null || acr === required) return true;
  return ACR_ORDER.includes(required) && ACR_ORDER.indexOf(acr) > ACR_ORDER.indexOf(required);
}

/** STEP_UP_REQUIRED/ACR_TOO_LOW, with what would do in `details.acrValues` (RFC 9470 section 3). */
export function acrTooLow(required: string | null): AppError {
  return new AppError("STEP_UP_REQUIRED", "ACR_TOO_LOW", "This application asks for a stronger sign-in.", {
    details: { acrValues: required === null ? [] : [required] },
  });
}

/** Throws STEP_UP_REQUIRED/ACR_TOO_LOW unless `acr` is at least what the policy requires. */
export function assertAcr({ requiredAcr }: Pick<Policy, "requiredAcr">, acr: string): void {
  if (!acrSuffices(acr, requiredAcr)) throw acrTooLow(requiredAcr);
}
