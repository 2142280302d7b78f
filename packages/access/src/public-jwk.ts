/** Keys that others hold, devices and clients, as they show them: the public halves that are taken here, and nothing else. */
import { createHash } from "node:crypto";
import { z } from "zod";

/** What may be signed with such a key, as `…_signing_alg_values_supported` lists it. */
export const SIGNATURE_ALGORITHMS = ["ES256", "Ed25519", "EdDSA"] as const;

const coordinate = z.string().regex(/^[\w-]{43}$/);

/** A P-256 or Ed25519 key (RFC 7518 section 6.2.1, RFC 8037 section 2), without what else may be said of it. */
export const PublicJwk = z.discriminatedUnion("crv", [
  z.object({ kty: z.literal("EC"), crv: z.literal("P-256"), x: coordinate, y: coordinate }),
  z.object({ kty: z.literal("OKP"), crv: z.literal("Ed25519"), x: coordinate }),
]);
export type PublicJwk = z.infer<typeof PublicJwk>;

const PRIVATE_MEMBERS = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/** Whether a JWK gives away what its holder keeps to itself. */
export function isPrivateJwk(jwk: Readonly<Record<string, unknown>>): boolean {
  return PRIVATE_MEMBERS.some((member) => member in jwk);
}

/** Whether an algorithm is one for keys of this kind. */
export function fitsJwk(alg: string, { crv }: PublicJwk): boolean {
  return (crv === "P-256") === (alg === "ES256");
}

/** RFC 7638: of the required members in order, without space. */
export function jwkThumbprint(jwk: PublicJwk): string {
  const { crv, kty, x } = jwk;
  const members = jwk.kty === "EC" ? { crv, kty, x, y: jwk.y } : { crv, kty, x };
  return createHash("sha256").update(JSON.stringify(members)).digest("base64url");
}
