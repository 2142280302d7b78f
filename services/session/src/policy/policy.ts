/**
 * The rules an application sets for its sessions: how long, how many, how sure. Versioned: a session lives under the
 * version it was started with, until another one is activated (activation.ts).
 */
import { Acr, acrSuffices, Posture } from "@continuo/access";
import { AppError } from "@continuo/errors";
import { z } from "zod";

/** What happens to a sign-in when the user already has as many live sessions as the policy allows. */
export const AtLimit = z.enum(["EVICT_OLDEST", "REFUSE"]);

/**
 * DPOP: tokens must be bound to a key of the device (RFC 9449). NONE: they are only bound if the client offers a key.
 */
export const DeviceBinding = z.enum(["NONE", "DPOP"]);

const whole = z.number().int().positive();

const rules = {
  idleSeconds: whole,
  absoluteSeconds: whole,
  accessTokenSeconds: whole,
  maxSessions: whole,
  atLimit: AtLimit,
  requiredAcr: z.string().nullable(),
  deviceBinding: DeviceBinding,
  /** How recent an authentication must be for sensitive operations (RFC 9470 max_age). */
  stepUpSeconds: whole,
  /** Whether the application's clients may keep state on the device. */
  persistence: z.boolean(),
  posture: Posture,
};

/** A row of `policies`. Durations are seconds. */
export const Policy = z.object({ applicationId: z.string(), version: z.number().int(), ...rules });
export type Policy = z.infer<typeof Policy>;

/** A policy version and its state: a replaceable draft, in force, or formerly in force. */
export const PolicyVersion = Policy.extend({
  state: z.enum(["DRAFT", "ACTIVE", "RETIRED"]),
  activatedAt: z.date().nullable(),
});
export type PolicyVersion = z.infer<typeof PolicyVersion>;

const [HOUR, DAY] = [3_600, 24 * 3_600];

/**
 * The longest a session may last at the level that its application requires (NIST SP 800-63B-4 sections 2.1.3, 2.2.3,
 * 2.3.3). A stronger sign-in than required does not shorten the session; `stepUpSeconds` limits how old it may be for
 * operations that need it.
 */
export const LONGEST_SESSION = {
  aal1: { idleSeconds: 14 * DAY, absoluteSeconds: 30 * DAY },
  aal2: { idleSeconds: HOUR, absoluteSeconds: DAY },
  aal3: { idleSeconds: 15 * 60, absoluteSeconds: 12 * HOUR },
} as const satisfies Record<Acr, object>;

/**
 * The longest life of any access token: the most that a policy may set, and how long a revocation must be remembered.
 */
export const LONGEST_ACCESS_TOKEN_SECONDS = 900;
const SHORTEST_ACCESS_TOKEN_SECONDS = 60;
const MOST_SESSIONS = 1_000;

/** The rules of a new version, which may only be tighter than the limits of its level. */
export const PolicyRules = z
  .strictObject({
    ...rules,
    accessTokenSeconds: whole.min(SHORTEST_ACCESS_TOKEN_SECONDS).max(LONGEST_ACCESS_TOKEN_SECONDS),
    maxSessions: whole.max(MOST_SESSIONS),
    requiredAcr: Acr.nullable(),
    stepUpSeconds: whole.max(LONGEST_SESSION.aal1.absoluteSeconds),
  })
  .superRefine((draft, context) => {
    const level = draft.requiredAcr ?? "aal1";
    for (const limit of ["idleSeconds", "absoluteSeconds"] as const) {
      const most = LONGEST_SESSION[level][limit];
      if (draft[limit] > most)
        context.addIssue({ code: "custom", path: [limit], message: `At ${level} at most ${most}` });
    }
    if (draft.idleSeconds > draft.absoluteSeconds) {
      context.addIssue({ code: "custom", path: ["idleSeconds"], message: "At most absoluteSeconds" });
    }
  });
export type PolicyRules = z.infer<typeof PolicyRules>;

/** What governs an application's new sessions: its active policy, and whether the client must authenticate. */
export const GoverningPolicy = Policy.extend({ isConfidential: z.boolean() });
export type GoverningPolicy = z.infer<typeof GoverningPolicy>;

/** Reads of applications and their policies. */
export interface PolicyStore {
  /** Undefined when there is no such application or none is active. */
  active(applicationId: string): Promise<GoverningPolicy | undefined>;
  /** In the order of `keys`, undefined where there is none. */
  versions(keys: readonly PolicyKey[]): Promise<(Policy | undefined)[]>;
  /** In the order of `ids`, undefined where there is none. */
  applications(ids: readonly string[]): Promise<({ id: string; name: string } | undefined)[]>;
}

/** Identifies a policy version. */
export type PolicyKey = Pick<Policy, "applicationId" | "version">;

/** NOT_FOUND/APPLICATION_NOT_FOUND. */
export const applicationNotFound = (): AppError =>
  new AppError("NOT_FOUND", "APPLICATION_NOT_FOUND", "There is no such application.");

/** The deadlines of a session that starts at `now`. */
export function deadlinesFrom(policy: Policy, now: Date): { idleDeadline: Date; absoluteDeadline: Date } {
  return {
    idleDeadline: new Date(now.getTime() + policy.idleSeconds * 1_000),
    absoluteDeadline: new Date(now.getTime() + policy.absoluteSeconds * 1_000),
  };
}

/** STEP_UP_REQUIRED/ACR_TOO_LOW, with the sufficient values in `details.acrValues` (RFC 9470 section 3). */
export function acrTooLow(required: string | null): AppError {
  return new AppError("STEP_UP_REQUIRED", "ACR_TOO_LOW", "This application asks for a stronger sign-in.", {
    details: { acrValues: required === null ? [] : [required] },
  });
}

/** Throws STEP_UP_REQUIRED/ACR_TOO_LOW unless `acr` is at least what the policy requires. */
export function assertAcr({ requiredAcr }: Pick<Policy, "requiredAcr">, acr: string): void {
  if (!acrSuffices(acr, requiredAcr)) throw acrTooLow(requiredAcr);
}
