/**
 * The start of a session: redeems identity's sign-in grant, once, for a device row, a session and its tokens.
 * Identity has already authenticated the person; this only decides whether the policy lets them in.
 */
import { AppError } from "@continuo/errors";
import type { GrantClaims, GrantVerifier } from "@continuo/access";
import { clientInvalid } from "../application/client-authentication.ts";
import { applicationNotFound, assertAcr, deadlinesFrom, type Policy, type PolicyStore } from "../policy/policy.ts";
import type { DeviceInput } from "../device/device.ts";
import type { Place, PlaceOf } from "../place/place.ts";
import type { Logged, RevocationAnnouncer } from "../revocation/revocation.ts";
import type { AccessTokenMinter, Authorization } from "../token/access-token.ts";
import type { RefreshTokenCodec } from "../token/refresh-token.ts";
import { dpopRequired, issueTokens, type SessionTokens } from "../token/rotation.ts";

/** Everything needed to write a session's rows. */
export interface StartCommand {
  readonly userId: string;
  /** The sign-in grant's id and expiry; a grant is redeemed once. */
  readonly jti: string;
  readonly jtiExpiresAt: Date;
  /** The user's epoch at sign-in; the grant is void if identity has raised it since. */
  readonly signInEpoch: number;
  readonly policy: Policy;
  readonly sessionId: string;
  readonly origin: "PASSWORD" | "PASSKEY" | "TRANSFER";
  readonly acr: string;
  readonly amr: readonly string[];
  readonly authTime: Date;
  readonly idleDeadline: Date;
  readonly absoluteDeadline: Date;
  readonly device: DeviceInput;
  readonly place: Place;
  /** The id of a new device row, if none of the user's devices matches. */
  readonly newDeviceId: string;
  readonly grantId: string;
  readonly keyId: number;
  readonly salt: Buffer;
  /** Thumbprint of the key that the device proved to possess; null when it has none. */
  readonly jkt: string | null;
  /** The session in which this one was approved. It must be the user's and live, and this one does not outlive it. */
  readonly parentId: string | null;
  /** The most sessions to replace and evict. */
  readonly evictions: number;
  readonly now: Date;
}

/** The outcome of a start. */
export type StartOutcome =
  | {
      readonly kind: "STARTED";
      readonly authorization: Authorization;
      readonly deviceRev: number;
      /** The log entry of evicted or replaced sessions, if there were any. */
      readonly evicted: Logged | null;
    }
  | { readonly kind: "GRANT_USED" }
  | { readonly kind: "GRANT_VOID" }
  | { readonly kind: "PARENT_ENDED" }
  | { readonly kind: "SESSION_LIMIT_REACHED" };

export interface StartSessionStore {
  /** Decides and writes atomically in one transaction; limits hold exactly under concurrent starts. */
  start(command: StartCommand): Promise<StartOutcome>;
}

/** A client's request to start a session. */
export interface StartSessionRequest {
  readonly grant: string;
  readonly applicationId: string;
  /** Whether the application has authenticated, as a confidential one must (RFC 6749 section 3.2.1). */
  readonly isAuthenticated: boolean;
  readonly device: DeviceInput;
  /** Thumbprint of the key whose DPoP proof came with the request. */
  readonly jkt: string | undefined;
  /** The network prefix that the request came from. */
  readonly ipPrefix: string | undefined;
}

const SALT_BYTES = 16;
/** The most sessions that one start evicts: to make room for itself, and to shrink what exceeds a lowered limit. */
const EVICTIONS_AT_ONCE = 100;

/**
 * Redeems a grant. Throws UNAUTHENTICATED: GRANT_INVALID (also when the session that approved it has ended, or the
 * user's epoch was raised since, by disabling or a new password), GRANT_EXPIRED, GRANT_USED, DPOP_REQUIRED,
 * CLIENT_INVALID; NOT_FOUND/APPLICATION_NOT_FOUND; STEP_UP_REQUIRED/ACR_TOO_LOW; FORBIDDEN/SESSION_LIMIT_REACHED. A
 * refused start does not consume the grant.
 */
export function createStartSession(options: {
  grants: GrantVerifier;
  policies: PolicyStore;
  store: StartSessionStore;
  announce: RevocationAnnouncer;
  accessTokens: AccessTokenMinter;
  refreshTokens: RefreshTokenCodec;
  placeOf: PlaceOf;
  /** Time-ordered ids for rows; `createDeviceId` returns random ones, which reveal no time. */
  createId: () => string;
  createDeviceId: () => string;
  randomBytes: (count: number) => Buffer;
  now: () => Date;
}): (request: StartSessionRequest) => Promise<SessionTokens> {
  const { grants, policies, store, announce, refreshTokens, placeOf, createId, createDeviceId, randomBytes, now } =
    options;

  return async ({ grant, applicationId, isAuthenticated, device, jkt, ipPrefix }) => {
    const at = now();
    const claims = await grants.verify(grant, at);
    const policy = await policies.active(applicationId);
    if (policy === undefined) throw applicationNotFound();
    if (policy.isConfidential && !isAuthenticated) throw clientInvalid("it is confidential, and has not authenticated");
    assertAcr(policy, claims.acr);
    if (policy.deviceBinding === "DPOP" && jkt === undefined) throw dpopRequired();
    const outcome = await store.start({
      userId: claims.sub,
      jti: claims.jti,
      jtiExpiresAt: new Date(claims.exp * 1_000),
      signInEpoch: claims.epoch,
      policy,
      sessionId: createId(),
      origin: originOf(claims),
      acr: claims.acr,
      amr: claims.amr,
      authTime: new Date(claims.auth_time * 1_000),
      ...deadlinesFrom(policy, at),
      device,
      place: placeOf(ipPrefix),
      newDeviceId: createDeviceId(),
      grantId: createId(),
      keyId: refreshTokens.currentKeyId,
      salt: randomBytes(SALT_BYTES),
      jkt: jkt ?? null,
      parentId: claims.parent ?? null,
      evictions: EVICTIONS_AT_ONCE,
      now: at,
    });
    switch (outcome.kind) {
      case "GRANT_USED":
        throw new AppError("UNAUTHENTICATED", "GRANT_USED", "This sign-in has already been used: sign in again.");
      case "GRANT_VOID":
        throw grantVoid();
      case "PARENT_ENDED":
        throw new AppError("UNAUTHENTICATED", "GRANT_INVALID", "The session that approved this sign-in has ended.");
      case "SESSION_LIMIT_REACHED":
        throw new AppError(
          "FORBIDDEN",
          "SESSION_LIMIT_REACHED",
          "Sign out elsewhere first: no more sessions are allowed.",
        );
      case "STARTED": {
        const { authorization, deviceRev, evicted } = outcome;
        await Promise.all([announce.devicesChanged(claims.sub, deviceRev), evicted && announce.revoked(evicted)]);
        return issueTokens(authorization, at, options);
      }
    }
  };
}

/** UNAUTHENTICATED/GRANT_INVALID: the grant is from before the user's epoch was raised. */
export function grantVoid(): AppError {
  return new AppError("UNAUTHENTICATED", "GRANT_INVALID", "This sign-in is no longer valid: sign in again.");
}

/** The session's origin: approved in another session, or else by the authentication method. */
function originOf({ amr, parent }: GrantClaims): StartCommand["origin"] {
  if (parent !== undefined) return "TRANSFER";
  return amr.includes("pwd") ? "PASSWORD" : "PASSKEY";
}
