/**
 * The start of a session: identity's sign-in grant, redeemed once, becomes a device row, a session and its tokens.
 * Who the person is has been settled before; this asks only whether the policy lets them in.
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

/** All that a session's rows are made of. */
export interface StartCommand {
  readonly userId: string;
  /** The sign-in grant's id and end of life: good once. */
  readonly jti: string;
  readonly jtiExpiresAt: Date;
  /** The user's, as it was when they signed in: void when identity has raised it since. */
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
  /** For a device row of its own, when `device.id` is not one of the user's. */
  readonly newDeviceId: string;
  readonly grantId: string;
  readonly keyId: number;
  readonly salt: Buffer;
  /** Thumbprint of the key that the device has proved to hold; null when it has none. */
  readonly jkt: string | null;
  /** The session in which this one was approved: it must be the user's and live, and is not outlived. */
  readonly parentId: string | null;
  /** How many sessions may have to make room at most. */
  readonly evictions: number;
  readonly now: Date;
}

/** What became of it. */
export type StartOutcome =
  | {
      readonly kind: "STARTED";
      readonly authorization: Authorization;
      readonly deviceRev: number;
      /** When older sessions had to make room. */
      readonly evicted: Logged | null;
    }
  | { readonly kind: "GRANT_USED" }
  | { readonly kind: "GRANT_VOID" }
  | { readonly kind: "PARENT_ENDED" }
  | { readonly kind: "SESSION_LIMIT_REACHED" };

export interface StartSessionStore {
  /** Decides and writes in one transaction, exact however many start at once: all of it or nothing. */
  start(command: StartCommand): Promise<StartOutcome>;
}

/** What a client sends. */
export interface StartSessionRequest {
  readonly grant: string;
  readonly applicationId: string;
  /** Whether the application has authenticated, as a confidential one must (RFC 6749 section 3.2.1). */
  readonly isAuthenticated: boolean;
  readonly device: DeviceInput;
  /** Thumbprint of the key whose DPoP proof came with the request. */
  readonly jkt: string | undefined;
  /** Where the request came from, coarsely. */
  readonly ipPrefix: string | undefined;
}

const SALT_BYTES = 16;
/** A start at the limit makes room for itself, and for what a lowered limit has left over, this many at a time. */
const EVICTIONS_AT_ONCE = 100;

/**
 * Redeems a grant. Throws UNAUTHENTICATED: GRANT_INVALID (also when the session that approved it has ended, or the user
 * was disabled since), GRANT_EXPIRED, GRANT_USED, DPOP_REQUIRED; NOT_FOUND/APPLICATION_NOT_FOUND;
 * UNAUTHENTICATED/CLIENT_INVALID; STEP_UP_REQUIRED/ACR_TOO_LOW; FORBIDDEN/SESSION_LIMIT_REACHED. A refused start does not use the grant up.
 */
export function createStartSession(options: {
  grants: GrantVerifier;
  policies: PolicyStore;
  store: StartSessionStore;
  announce: RevocationAnnouncer;
  accessTokens: AccessTokenMinter;
  refreshTokens: RefreshTokenCodec;
  placeOf: PlaceOf;
  /** Ids in order of time, for rows; `createDeviceId` gives none away. */
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

/** UNAUTHENTICATED/GRANT_INVALID: of before the user was disabled or deleted. */
export function grantVoid(): AppError {
  return new AppError("UNAUTHENTICATED", "GRANT_INVALID", "This sign-in is no longer valid: sign in again.");
}

/** How the session came about: approved in another one, or by what the person did here. */
function originOf({ amr, parent }: GrantClaims): StartCommand["origin"] {
  if (parent !== undefined) return "TRANSFER";
  return amr.includes("pwd") ? "PASSWORD" : "PASSKEY";
}
