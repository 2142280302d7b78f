/**
 * Signs compact JWTs (RFC 7519) with one private key, using node:crypto on the calling thread: half the cost of a round
 * trip through WebCrypto's threads. Not for verifying, which jose does everywhere.
 */
import { createPrivateKey, sign, type KeyObject } from "node:crypto";
import { signingAsJose, type Jwk } from "./keys.ts";

export interface JwtSigner {
  readonly kid: string;
  /** A JWT of that `typ` (RFC 8725 section 3.11); the claims go into it unchanged. */
  sign(typ: string, claims: Readonly<Record<string, unknown>>): string;
}

/** Takes a private ES256 or Ed25519 key. Throws TypeError for any other. */
export function createJwtSigner(privateJwk: Jwk): JwtSigner {
  const { kid } = privateJwk;
  const key = signingAsJose(createPrivateKey({ key: { ...privateJwk }, format: "jwk" }));
  const { alg, digest } = algorithmOf(key);
  return {
    kid,
    sign(typ, claims) {
      const signed = `${encode({ alg, typ, kid })}.${encode(claims)}`;
      const signature = sign(digest, Buffer.from(signed), key);
      return `${signed}.${signature.toString("base64url")}`;
    },
  };
}

function algorithmOf({ asymmetricKeyType, asymmetricKeyDetails }: KeyObject): { alg: string; digest: string | null } {
  if (asymmetricKeyType === "ed25519") return { alg: "Ed25519", digest: null };
  if (asymmetricKeyDetails?.namedCurve === "prime256v1") return { alg: "ES256", digest: "sha256" };
  throw new TypeError("a key for signing tokens is a private ES256 or Ed25519 key");
}

function encode(part: Readonly<Record<string, unknown>>): string {
  return Buffer.from(JSON.stringify(part)).toString("base64url");
}
