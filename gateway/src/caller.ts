/**
 * Who is calling: the access token checked once, at the door, against its signature and the revocations.
 * What a caller may do is for the subgraphs to decide.
 */
import { viewerOf, type AccessTokenClaims, type AccessTokenVerifier, type Caller } from "@continuo/access";
import { AppError } from "@continuo/errors";
import { LONGEST_TOKEN_LIFE_MS } from "./revocation/revocation-set.ts";

/** A caller, and the claims that prove who it is. */
export type Admission =
  | { readonly caller: Extract<Caller, { kind: "viewer" }>; readonly claims: AccessTokenClaims }
  | { readonly caller: Extract<Caller, { kind: "anonymous" }>; readonly claims?: undefined };

export interface Admissions {
  /**
   * Judges an Authorization header: none is anonymous, a presented token must be good.
   * Throws UNAUTHENTICATED: TOKEN_INVALID, TOKEN_EXPIRED, SESSION_ENDED (details.endReason); UNAVAILABLE:
   * KEYS_UNAVAILABLE, REVOCATION_UNKNOWN.
   */
  admit(authorization: string | undefined): Promise<Admission>;
  /** Whether a session already admitted still stands. Throws as `admit` does. */
  recheck(sessionId: string): Promise<void>;
}

/** RFC 6750 section 2.1; the scheme is case-insensitive (RFC 9110 section 11.1). */
const BEARER = /^Bearer +([\w.~+/-]+=*)$/i;

/** `assertStanding` throws for an ended session, or when that cannot be known. */
export function createAdmissions(options: {
  verifier: AccessTokenVerifier;
  assertStanding: (sessionId: string) => Promise<void>;
  now?: () => number;
}): Admissions {
  const { verifier, assertStanding, now = Date.now } = options;
  return {
    recheck: assertStanding,
    async admit(authorization) {
      if (authorization === undefined) return { caller: { kind: "anonymous" } };
      const token = BEARER.exec(authorization)?.[1];
      if (token === undefined) throw invalid("Authorization must be a bearer token.");
      const claims = await verifier.verify(token);
      // Revocations are remembered for as long as a token may live; one that lives longer would outlive them.
      if (claims.exp * 1000 - now() > LONGEST_TOKEN_LIFE_MS) throw invalid("The access token is not valid.");
      await assertStanding(claims.sid);
      return { caller: { kind: "viewer", viewer: viewerOf(claims) }, claims };
    },
  };
}

function invalid(message: string): AppError {
  return new AppError("UNAUTHENTICATED", "TOKEN_INVALID", message);
}
