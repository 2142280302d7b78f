import type { KeyObject } from "node:crypto";
import { calculateJwkThumbprint, exportJWK, generateKeyPair, type JWK } from "jose";

/** A JSON Web Key; ours always have a `kid`. */
export type Jwk = JWK & { kty: string; kid: string };

/** A new key pair; `kid` is its RFC 7638 thumbprint. ES256 for access tokens, Ed25519 for internal tokens. */
export async function generateKey(alg: "ES256" | "Ed25519"): Promise<{ publicJwk: Jwk; privateJwk: Jwk }> {
  const pair = await generateKeyPair(alg, { extractable: true });
  const [publicJwk, privateJwk] = await Promise.all([exportJWK(pair.publicKey), exportJWK(pair.privateKey)]);
  const kid = await calculateJwkThumbprint(publicJwk);
  const named = (jwk: JWK): Jwk => ({ ...jwk, kty: jwk.kty ?? "", kid, alg });
  return { publicJwk: named(publicJwk), privateJwk: named(privateJwk) };
}

/**
 * Sets on the key itself that signatures are r ‖ s (RFC 7518 section 3.4); Ed25519 has no other form. Passing it beside
 * the key, in an options object, would cost a third of a signature: node:crypto finds out by exceptions that the object
 * is not a key.
 */
export function signingAsJose(key: KeyObject): KeyObject {
  return Object.assign(key, { dsaEncoding: "ieee-p1363" });
}
