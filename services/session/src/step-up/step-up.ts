/**
 * Step-up (RFC 9470): a user authenticates again, more strongly or just more recently, and continues the same session.
 * This updates acr, amr, auth_time and both deadlines, which a refresh never does, as it proves nothing about the
 * person. A session that was approved in another one still does not outlive that one.
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
  /** The rotation grant to replace, as it was read. */
  readonly from: Pick<Authorization, "grantId" | "generation" | "jkt">;
  readonly session: Session;
  readonly policy: Policy;
  /** The sign-in grant's id and expiry; a grant is redeemed once. */
  readonly jti: string;
  readonly jtiExpiresAt: Date;
  /** The user's epoch when they signed in again. */
  readonly signInEpoch: number;
  readonly acr: string;
  readonly amr: readonly string[];
  readonly authTime: Date;
  readonly idleDeadline: Date;
  readonly absoluteDeadline: Date;
  readonly grantId: string;
  readonly keyId: number;
  readonly salt: Buffer;
  /** Thumbprint of the proven key, to which an unbound session becomes bound; null for none. */
  readonly jkt: string | null;
  readonly now: Date;
}

export type StepUpOutcome =
  | {
      readonly kind: "STEPPED_UP";
      readonly authorization: Authorization;
      readonly deviceRev: number;
      /** The log entry that voids the old grant. */
      readonly seq: number;
    }
  | { readonly kind: "GRANT_USED" }
  | { readonly kind: "GRANT_VOID" }
  /** A concurrent request rotated or ended the grant. */
  | { readonly kind: "CHANGED" };

export interface StepUpStore {
  /**
   * Decides and writes in one transaction: session, new rotation grant, end of the old one with its log entry, security
   * event.
   */
  stepUp(command: StepUpCommand): Promise<StepUpOutcome>;
  /**
   * The authorization that the session already got for the sign-in grant `jti` in place of the rotation grant
   * `grantId`, unless its tokens are already in use or bound to a key other than `jkt`.
   */
  answered(asked: {
    readonly jti: string;
    readonly sessionId: string;
    readonly grantId: string;
    readonly jkt: string | null;
    readonly now: Date;
  }): Promise<Authorization | undefined>;
}

/** A client's request: a fresh sign-in grant, and the refresh token of the session to continue. */
export interface StepUpRequest extends RefreshRequest {
  readonly grant: string;
}

const SALT_BYTES = 16;
const ATTEMPTS = 3;

/**
 * Redeems a sign-in grant for an existing session. Afterwards the presented refresh token is void, and so are the
 * session's earlier access tokens, once gateways have read the log (ASVS 7.2.4). A session without a key becomes bound
 * to the proven one; where the application requires a key and none is proven, throws DPOP_REQUIRED. The same request
 * gets the same answer until that is known to have arrived, so a lost reply signs nobody out.
 * Throws as redeeming and refreshing do, UNAUTHENTICATED/GRANT_FOR_ANOTHER for another user's grant, and
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

  /** Repeats the earlier answer, or throws the refusal. */
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

/** The part of a session's policy that limits the age of its authentication. */
export interface StepUpRule {
  readonly stepUpSeconds: number;
  readonly requiredAcr: string | null;
}

/**
 * For sensitive operations (ASVS 7.5.2): throws STEP_UP_REQUIRED/AUTHENTICATION_TOO_OLD with `details` { maxAge,
 * acrValues } (RFC 9470 section 3) unless the person has authenticated within `stepUpSeconds`.
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
