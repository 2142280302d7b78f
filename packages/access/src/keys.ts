import type { KeyObject } from "node:crypto";
import { calculateJwkThumbprint, exportJWK, generateKeyPair, type JWK } from "jose";

/** A JSON Web Key with the `kid` we always give. */
export type Jwk = JWK & { kty: string; kid: string };

/** A new key pair; `kid` is its RFC 7638 thumbprint. ES256 for access tokens, Ed25519 for what stays inside. */
export async function generateKey(alg: "ES256" | "Ed25519"): Promise<{ publicJwk: Jwk; privateJwk: Jwk }> {
  const pair = await generateKeyPair(alg, { extractable: true });
  const [publicJwk, privateJwk] = await Promise.all([exportJWK(pair.publicKey), exportJWK(pair.privateKey)]);
  const kid = await calculateJwkThumbprint(publicJwk);
  const named = (jwk: JWK): Jwk => ({ ...jwk, kty: jwk.kty ?? "", kid, alg });
  return { publicJwk: named(publicJwk), privateJwk: named(privateJwk) };
}

/**
 * The key, saying of itself that signatures by it are r ‖ s (RFC 7518 section 3.4); Ed25519 knows nothing else. Said beside it,
 * in an object, that costs a third of a signature: that the object is no key itself, node:crypto learns by exceptions.
 */
export function signingAsJose(key: KeyObject): KeyObject {
  return Object.assign(key, { dsaEncoding: "ieee-p1363" });
}
