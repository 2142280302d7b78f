/**
 * Access tokens (RFC 9068): their claims and how they are verified.
 * Minting belongs to the session subgraph; whether a valid token's session has been revoked is for the gateway to say.
 */
import { hash } from "node:crypto";
import { AppError, isAppError } from "@continuo/errors";
import { errors, jwtVerify, type JWTVerifyGetKey } from "jose";
import { z } from "zod";
import { createVerifiedCache } from "./verified-cache.ts";

/** What happens to a session's operations while the gateway cannot know whether the session has been revoked. */
export const Posture = z.enum([
  /** Queries and open streams go on; mutations wait until it is known, or are refused. */
  "OPEN",
  /** Every operation waits until it is known, or is refused. */
  "STRICT",
  /** Everything is refused at once, and open sockets are closed. */
  "CLOSED",
]);
export type Posture = z.infer<typeof Posture>;

/**
 * Claims of an access token. Times are NumericDate seconds. `gid` and `gen` are the grant the token came from and that
 * grant's generation, `uep` the user's epoch, `cnf.jkt` the key the token is bound to (RFC 9449 section 6.1). `step_up`
 * is the maximum age of the sign-in for sensitive operations, in seconds, as the session's policy says; tokens from
 * earlier versions lack it.
 */
export const AccessTokenClaims = z.object({
  iss: z.string(),
  aud: z.string(),
  sub: z.uuid(),
  client_id: z.string(),
  sid: z.uuid(),
  did: z.uuid(),
  jti: z.uuid(),
  iat: z.number().int(),
  exp: z.number().int(),
  auth_time: z.number().int(),
  acr: z.string(),
  amr: z.array(z.string()),
  scope: z.string(),
  gid: z.uuid(),
  gen: z.number().int().positive(),
  uep: z.number().int().nonnegative(),
  posture: Posture,
  step_up: z.number().int().positive().optional(),
  cnf: z.object({ jkt: z.string() }).optional(),
});
export type AccessTokenClaims = z.infer<typeof AccessTokenClaims>;

export interface AccessTokenVerifier {
  /** The claims of a valid token. Throws AppError UNAUTHENTICATED: TOKEN_EXPIRED, TOKEN_INVALID; UNAVAILABLE: KEYS_UNAVAILABLE. */
  verify(token: string): Promise<AccessTokenClaims>;
  /** Forgets verified tokens because the keys have changed: each is verified again. */
  forget(): void;
}

const CACHED_TOKENS = 100_000;

/** Verifies as RFC 9068 section 4 says. A token seen before costs one SHA-256: its claims are cached until it expires. */
export function createAccessTokenVerifier(options: {
  issuer: string;
  audience: string;
  keys: JWTVerifyGetKey;
  now?: () => Date;
}): AccessTokenVerifier {
  const { issuer, audience, keys, now = () => new Date() } = options;
  let verified = createVerifiedCache<AccessTokenClaims>(CACHED_TOKENS);

  const findKey: JWTVerifyGetKey = async (header, jws) => {
    try {
      return await keys(header, jws);
    } catch (cause) {
      if (cause instanceof errors.JWKSNoMatchingKey || cause instanceof errors.JWKSMultipleMatchingKeys) throw cause;
      throw new AppError("UNAVAILABLE", "KEYS_UNAVAILABLE", "The signing keys cannot be read right now.", { cause });
    }
  };

  async function check(token: string): Promise<AccessTokenClaims> {
    try {
      const { payload } = await jwtVerify(token, findKey, {
        issuer,
        audience,
        typ: "at+jwt",
        algorithms: ["ES256"],
        currentDate: now(),
      });
      return AccessTokenClaims.parse(payload);
    } catch (cause) {
      if (isAppError(cause)) throw cause;
      if (cause instanceof errors.JWTExpired) throw expired();
      throw new AppError("UNAUTHENTICATED", "TOKEN_INVALID", "The access token is not valid.", { cause });
    }
  }

  return {
    forget() {
      verified = createVerifiedCache(CACHED_TOKENS);
    },
    async verify(token) {
      // Captured first: if `forget` runs during verification, what the old keys verified goes into the discarded cache.
      const cache = verified;
      const key = hash("sha256", token, "base64");
      const known = cache.get(key);
      const claims = known ?? (await check(token));
      const seconds = now().getTime() / 1000;
      if (claims.exp <= seconds) {
        cache.delete(key);
        throw expired();
      }
      if (!known) cache.set(key, claims, seconds);
      return claims;
    },
  };
}

function expired(): AppError {
  return new AppError("UNAUTHENTICATED", "TOKEN_EXPIRED", "The access token has expired: refresh it.");
}
