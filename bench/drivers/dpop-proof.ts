/**
 * DPoP proofs (RFC 9449 section 4.2) with one key, using node:crypto, so that the load generator costs as little as possible.
 */
import { createHash, generateKeyPairSync, randomUUID, sign } from "node:crypto";

/** Makes a fresh proof on each call. */
export type Prove = (request: { method: string; url: string; accessToken?: string; nonce?: string }) => string;

/** A prover with a new ES256 key. */
export function createProver(): Prove {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const { kty, crv, x, y } = publicKey.export({ format: "jwk" });
  const header = encode({ typ: "dpop+jwt", alg: "ES256", jwk: { kty, crv, x, y } });
  return ({ method, url, accessToken, nonce }) => {
    const claims = {
      jti: randomUUID(),
      htm: method,
      htu: url,
      iat: Math.floor(Date.now() / 1_000),
      ...(accessToken !== undefined && { ath: createHash("sha256").update(accessToken).digest("base64url") }),
      ...(nonce !== undefined && { nonce }),
    };
    const signed = `${header}.${encode(claims)}`;
    const signature = sign("sha256", Buffer.from(signed), { key: privateKey, dsaEncoding: "ieee-p1363" });
    return `${signed}.${signature.toString("base64url")}`;
  };
}

function encode(part: object): string {
  return Buffer.from(JSON.stringify(part)).toString("base64url");
}
