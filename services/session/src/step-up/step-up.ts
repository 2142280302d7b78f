/**
 * Step-up (RFC 9470): somebody authenticates again, more strongly or just more recently, and goes on in the same session.
 * Refreshing proves nothing about a person, so it never moves what this moves: acr, amr, auth_time and both deadlines. A
 * session that was approved in another one still is not to outlive that one.
 */
import type { GrantVerifier } from "@continuo/access";
import { AppError } from "@continuo/errors";
import type { Logger } from "@continuo/process";
import type { RevocationAnnouncer } from "../revocation/revocation.ts";
import { assertAcr, deadlinesFrom, type Policy, type PolicyStore } from "../policy/policy.ts";
import { sessionEnded, type Session } from "../session/session.ts";
import { grantVoid } from "../session/start-session.ts";
import type { AccessTokenMinter, Authorization } from "../token/access-token.ts";
import type { RefreshTokenCodec } from "../token/refresh-token.ts";
import {
  dpopRequired,
  issueTokens,
  tokenReplaced,
  type RefreshRequest,
  type Rotation,
  type SessionTokens,
} from "../token/rotation.ts";

export interface StepUpCommand {
  /** The grant of rotation to be replaced, as it was read. */
  readonly from: Pick<Authorization, "grantId" | "generation" | "jkt">;
  readonly session: Session;
  readonly policy: Policy;
  /** The sign-in grant's id and end of life: good once. */
  readonly jti: string;
  readonly jtiExpiresAt: Date;
  /** The user's, as it was when they signed in again. */
  readonly signInEpoch: number;
  readonly acr: string;
  readonly amr: readonly string[];
  readonly authTime: Date;
  readonly idleDeadline: Date;
  readonly absoluteDeadline: Date;
  readonly grantId: string;
  readonly keyId: number;
  readonly salt: Buffer;
  /** Thumbprint of the key proven, to which an unbound session is bound from now on; null for none. */
  readonly jkt: string | null;
  readonly now: Date;
}

export type StepUpOutcome =
  | {
      readonly kind: "STEPPED_UP";
      readonly authorization: Authorization;
      readonly deviceRev: number;
      /** Where the log says that the former grant is over. */
      readonly seq: number;
    }
  | { readonly kind: "GRANT_USED" }
  | { readonly kind: "GRANT_VOID" }
  /** Somebody else rotated or ended it meanwhile. */
  | { readonly kind: "CHANGED" };

export interface StepUpStore {
  /** Decides and writes in one transaction: session, new grant of rotation, end of the old one and word of it, security event. */
  stepUp(command: StepUpCommand): Promise<StepUpOutcome>;
  /**
   * What the session was given for the sign-in grant `jti` in place of the grant `grantId`, unless it is in use already or
   * bound to another key than `jkt`.
   */
  answered(asked: {
    readonly jti: string;
    readonly sessionId: string;
    readonly grantId: string;
    readonly jkt: string | null;
    readonly now: Date;
  }): Promise<Authorization | undefined>;
}

/** What a client sends: a fresh sign-in grant, and the refresh token of the session that goes on. */
export interface StepUpRequest extends RefreshRequest {
  readonly grant: string;
}

const SALT_BYTES = 16;
const ATTEMPTS = 3;

/**
 * Redeems a sign-in grant for a session that exists. The refresh token it was asked with is dead afterwards, and so are
 * the access tokens of before, as soon as gateways have heard of it (ASVS 7.2.4). A session without a key is bound to the
 * one that is proven, and goes on only with one where the application asks for it: DPOP_REQUIRED. Asked the same again, it
 * answers the same until that is known to have arrived: a lost reply signs nobody out.
 * Throws as redeeming and refreshing do, UNAUTHENTICATED/GRANT_FOR_ANOTHER for somebody else's grant, and
 * STEP_UP_REQUIRED/ACR_TOO_LOW when the new sign-in is too weak for the application.
 */
export function createStepUp(options: {
  grants: GrantVerifier;
  policies: PolicyStore;
  rotation: Pick<Rotation, "present">;
  store: StepUpStore;
  announce: RevocationAnnouncer;
  accessTokens: AccessTokenMinter;
  refreshTokens: RefreshTokenCodec;
  createId: () => string;
  randomBytes: (count: number) => Buffer;
  now: () => Date;
}): (request: StepUpRequest, logger: Logger) => Promise<SessionTokens> {
  const { grants, policies, rotation, store, announce, refreshTokens, createId, randomBytes, now } = options;

  /** The answer that was given before, or the refusal. */
  async function repeat(asked: Parameters<StepUpStore["answered"]>[0], refusal: AppError): Promise<SessionTokens> {
    const answered = await store.answered(asked);
    if (answered === undefined) throw refusal;
    return issueTokens(answered, asked.now, options);
  }

  return async ({ grant, ...request }, logger) => {
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
      const at = now();
      const claims = await grants.verify(grant, at);
      const from = await rotation.present(request, logger);
      const { session } = from;
      if (session.userId !== claims.sub) {
        throw new AppError("UNAUTHENTICATED", "GRANT_FOR_ANOTHER", "This grant is for another user.");
      }
      const asked = {
        jti: claims.jti,
        sessionId: session.id,
        grantId: from.grantId,
        jkt: request.jkt ?? null,
        now: at,
      };
      if (!from.isActive) return repeat(asked, tokenReplaced());
      const policy = await policies.active(session.applicationId);
      if (policy === undefined) throw sessionEnded(null);
      assertAcr(policy, claims.acr);
      if (policy.deviceBinding === "DPOP" && from.jkt === null && request.jkt === undefined) throw dpopRequired();
      const outcome = await store.stepUp({
        from,
        session,
        policy,
        jti: claims.jti,
        jtiExpiresAt: new Date(claims.exp * 1_000),
        signInEpoch: claims.epoch,
        acr: claims.acr,
        amr: claims.amr,
        authTime: new Date(claims.auth_time * 1_000),
        ...deadlinesFrom(policy, at),
        grantId: createId(),
        keyId: refreshTokens.currentKeyId,
        salt: randomBytes(SALT_BYTES),
        jkt: request.jkt ?? null,
        now: at,
      });
      switch (outcome.kind) {
        case "GRANT_USED":
          return repeat(
            asked,
            new AppError("UNAUTHENTICATED", "GRANT_USED", "This sign-in has already been used: sign in again."),
          );
        case "GRANT_VOID":
          throw grantVoid();
        case "CHANGED":
          continue;
        case "STEPPED_UP":
          await Promise.all([
            announce.revoked({ seq: outcome.seq, posted: false }),
            announce.devicesChanged(session.userId, outcome.deviceRev),
          ]);
          return issueTokens(outcome.authorization, at, options);
      }
    }
    throw new AppError("UNAVAILABLE", "REFRESH_UNSETTLED", "Too much at once: try again.");
  };
}

/** The policy that a session lives under, of which the age of authentication is asked. */
export interface StepUpRule {
  readonly stepUpSeconds: number;
  readonly requiredAcr: string | null;
}

/**
 * For what is sensitive (ASVS 7.5.2): throws STEP_UP_REQUIRED/AUTHENTICATION_TOO_OLD with `details` { maxAge, acrValues }
 * (RFC 9470 section 3) unless the person has authenticated within `stepUpSeconds`.
 */
export function assertRecentAuthentication(
  session: Pick<Session, "authTime" | "acr">,
  { stepUpSeconds, requiredAcr }: StepUpRule,
  now: Date,
): void {
  if (now.getTime() - session.authTime.getTime() <= stepUpSeconds * 1_000) return;
  throw new AppError("STEP_UP_REQUIRED", "AUTHENTICATION_TOO_OLD", "Sign in again to do this.", {
    details: { maxAge: stepUpSeconds, acrValues: [requiredAcr ?? session.acr] },
  });
}
