/** Public keys of devices and clients, as they present them: which ones are accepted here, and nothing else. */
import { createHash } from "node:crypto";
import { z } from "zod";

/** Signature algorithms accepted for such keys, as `…_signing_alg_values_supported` lists them. */
export const SIGNATURE_ALGORITHMS = ["ES256", "Ed25519", "EdDSA"] as const;

const coordinate = z.string().regex(/^[\w-]{43}$/);

/** A P-256 or Ed25519 key (RFC 7518 section 6.2.1, RFC 8037 section 2), without its other members. */
export const PublicJwk = z.discriminatedUnion("crv", [
  z.object({ kty: z.literal("EC"), crv: z.literal("P-256"), x: coordinate, y: coordinate }),
  z.object({ kty: z.literal("OKP"), crv: z.literal("Ed25519"), x: coordinate }),
]);
export type PublicJwk = z.infer<typeof PublicJwk>;

const PRIVATE_MEMBERS = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/** Whether a JWK contains private members. */
export function isPrivateJwk(jwk: Readonly<Record<string, unknown>>): boolean {
  return PRIVATE_MEMBERS.some((member) => member in jwk);
}

/** Whether an algorithm is for keys of this type. */
export function fitsJwk(alg: string, { crv }: PublicJwk): boolean {
  return (crv === "P-256") === (alg === "ES256");
}

/** RFC 7638: SHA-256 of the required members in order, without whitespace. */
export function jwkThumbprint(jwk: PublicJwk): string {
  const { crv, kty, x } = jwk;
  const members = jwk.kty === "EC" ? { crv, kty, x, y: jwk.y } : { crv, kty, x };
  return createHash("sha256").update(JSON.stringify(members)).digest("base64url");
}
