/**
 * The public keys that an application authenticates with (private_key_jwt): what an operator may register and a row
 * holds. `client-assertion.ts` verifies signatures with them.
 */
import { createPublicKey } from "node:crypto";
import { fitsJwk, isPrivateJwk, jwkThumbprint, PublicJwk, SIGNATURE_ALGORITHMS } from "@continuo/access";
import { z } from "zod";

/** Enough for current and next keys on several machines. */
const MAX_KEYS = 10;

/** The metadata kept with a key (RFC 7517 section 4); other members are dropped. */
const Purpose = z.object({
  kid: z.string().min(1).max(128).exactOptional(),
  alg: z.enum(SIGNATURE_ALGORITHMS).exactOptional(),
  use: z.literal("sig").exactOptional(),
  key_ops: z
    .array(z.string())
    .refine((operations) => operations.includes("verify"), "must have verify")
    .exactOptional(),
});

const ClientKey = z
  .looseObject({})
  .refine((jwk) => !isPrivateJwk(jwk), {
    error: "is a private key, which whoever can read this file has now: make another, and give its public half",
    abort: true,
  })
  .pipe(PublicJwk.and(Purpose))
  .refine((jwk) => jwk.alg === undefined || fitsJwk(jwk.alg, jwk), "alg does not fit the key")
  .refine(isOnCurve, "is no key: its point is not on the curve")
  // The thumbprint is the default `kid`, also of libraries that sign with the key.
  .transform((jwk) => ({ ...jwk, kid: jwk.kid ?? jwkThumbprint(jwk) }));

/**
 * A JWK Set (RFC 7517 section 5) of ES256 and Ed25519 keys with unique `kid`s; a missing `kid` becomes the RFC 7638
 * thumbprint.
 */
export const ClientKeys = z.object({
  keys: z
    .array(ClientKey)
    .min(1)
    .max(MAX_KEYS)
    .refine((keys) => new Set(keys.map(({ kid }) => kid)).size === keys.length, "two keys have the same kid"),
});
export type ClientKeys = z.infer<typeof ClientKeys>;

/** The `kid` of each key. */
export function keyIdsOf({ keys }: ClientKeys): string[] {
  return keys.map(({ kid }) => kid);
}

function isOnCurve(jwk: PublicJwk): boolean {
  try {
    return createPublicKey({ key: jwk, format: "jwk" }).type === "public";
  } catch {
    return false;
  }
}
