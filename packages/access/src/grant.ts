/**
 * The sign-in grant: identity's signed, single-use statement to the session subgraph that a user has authenticated.
 * The client carries it from `signIn` to `startSession`; that seam lets two teams own the two subgraphs.
 */
import { AppError } from "@continuo/errors";
import { errors, importJWK, jwtVerify } from "jose";
import { z } from "zod";
import { createJwtSigner } from "./jwt-signer.ts";
import type { Jwk } from "./keys.ts";

/** How long a grant stays valid while it waits for its `startSession`. */
export const GRANT_LIFE_SECONDS = 60;

const ISSUER = "continuo-identity";
const AUDIENCE = "continuo-session";
const TYPE = "continuo-grant+jwt";

/**
 * What identity vouches for. `jti` makes it single-use; times are NumericDate seconds. `parent` is the session in which
 * the user approved this sign-in (a code on a TV, a transfer): the new session descends from it. `epoch` is the user's,
 * raised whenever they are disabled, enabled again or change their password, which voids earlier grants; older grants lack it.
 */
export const GrantClaims = z.object({
  jti: z.uuid(),
  sub: z.uuid(),
  acr: z.string(),
  amr: z.array(z.string()).min(1),
  auth_time: z.number().int(),
  exp: z.number().int(),
  parent: z.uuid().optional(),
  epoch: z.number().int().nonnegative().default(0),
});
export type GrantClaims = z.infer<typeof GrantClaims>;

export interface GrantSigner {
  /** A grant for `sub`, valid for GRANT_LIFE_SECONDS. */
  sign(claims: Omit<z.input<typeof GrantClaims>, "exp">, now: Date): Promise<string>;
}

export interface GrantVerifier {
  /** The claims of a genuine grant. Throws AppError UNAUTHENTICATED: GRANT_EXPIRED, GRANT_INVALID. Single use is the caller's to enforce, by `jti`. */
  verify(grant: string, now: Date): Promise<GrantClaims>;
}

/** Signs with identity's private Ed25519 key. */
export function createGrantSigner(privateJwk: Jwk): GrantSigner {
  const signer = createJwtSigner(privateJwk);
  return {
    async sign(claims, now) {
      const iat = Math.floor(now.getTime() / 1_000);
      return signer.sign(TYPE, { ...claims, iss: ISSUER, aud: AUDIENCE, iat, exp: iat + GRANT_LIFE_SECONDS });
    },
  };
}

/** Verifies with identity's public key. */
export function createGrantVerifier(publicJwk: Jwk): GrantVerifier {
  const key = importJWK(publicJwk, "Ed25519");
  return {
    async verify(grant, now) {
      try {
        const { payload } = await jwtVerify(grant, await key, {
          issuer: ISSUER,
          audience: AUDIENCE,
          typ: TYPE,
          algorithms: ["Ed25519"],
          currentDate: now,
        });
        return GrantClaims.parse(payload);
      } catch (cause) {
        if (cause instanceof errors.JWTExpired) {
          throw new AppError("UNAUTHENTICATED", "GRANT_EXPIRED", "The sign-in took too long: sign in again.", {
            cause,
          });
        }
        throw new AppError("UNAUTHENTICATED", "GRANT_INVALID", "The grant is not valid.", { cause });
      }
    },
  };
}
