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
