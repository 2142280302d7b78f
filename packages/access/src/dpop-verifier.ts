/**
 * DPoP proofs: the twelve checks of RFC 9449 section 4.3, the most expensive one last.
 * Whether a proof was used before is not checked here: that needs a memory shared by all replicas.
 */
import { AppError } from "@continuo/errors";
import { createPublicKey, hash, verify, type KeyObject } from "node:crypto";
import { LRUCache } from "lru-cache";
import { z } from "zod";
import { signingAsJose } from "./keys.ts";
import { fitsJwk, isPrivateJwk, jwkThumbprint, PublicJwk, SIGNATURE_ALGORITHMS } from "./public-jwk.ts";
import { sameUri } from "./same-uri.ts";

/** How far a proof's `iat` may be from our clock when the proof carries no nonce of ours. Seconds. */
export const DPOP_CLOCK_SECONDS = 60;

/** The check that a proof failed, as `details.check` of DPOP_PROOF_INVALID. */
export type DpopCheck =
  | "header"
  | "jwt"
  | "claims"
  | "typ"
  | "alg"
  | "signature"
  | "jwk"
  | "htm"
  | "htu"
  | "iat"
  | "ath"
  | "jkt"
  | "jti";

/** A request as it arrived, and its proof. */
export interface ProvenRequest {
  readonly method: string;
  /** The public address that clients were given, never one taken from the request's Host header. */
  readonly url: string;
  /** The value of the DPoP header; several headers are one value with commas (RFC 9110 section 5.3). */
  readonly proof: string;
  /** The token sent with the request; `jkt` is the key it is bound to. */
  readonly accessToken?: { readonly value: string; readonly jkt: string | undefined } | undefined;
}

/** What a valid proof shows. */
export interface DpopProof {
  /** RFC 7638 thumbprint of the key that signed it. */
  readonly jkt: string;
  readonly jti: string;
  /** Whether it carries a nonce of ours. If so it was made within the last two minutes, whatever the client's clock says. */
  readonly hasNonce: boolean;
}

export interface DpopVerifier {
  /**
   * Throws AppError UNAUTHENTICATED: DPOP_PROOF_INVALID (details.check is a DpopCheck), or DPOP_NONCE_REQUIRED when the
   * nonce is not (or no longer) one of ours, or when there is none and the client's clock is off.
   */
  verify(request: ProvenRequest): DpopProof;
}

const MAX_PROOF_LENGTH = 4_096;
const COMPACT_JWS = /^([\w-]+)\.([\w-]+)\.([\w-]+)$/;
const CACHED_KEYS = 50_000;

const Header = z.object({
  typ: z.string(),
  alg: z.string(),
  jwk: z.record(z.string(), z.unknown()),
  // We understand no extensions, and `crit` lists those that must be understood (RFC 7515 section 4.1.11).
  crit: z.never().optional(),
});

const Claims = z.object({
  jti: z.string().min(1).max(128),
  htm: z.string(),
  htu: z.string(),
  iat: z.number(),
  ath: z.string().optional(),
  nonce: z.string().optional(),
});

/**
 * A verifier that caches imported keys, since a device signs with one key. `acceptsNonce` recognises our nonces; `now`
 * is in milliseconds.
 */
export function createDpopVerifier(options: {
  acceptsNonce: (nonce: string) => boolean;
  now?: () => number;
}): DpopVerifier {
  const { acceptsNonce, now = Date.now } = options;
  const imported = new LRUCache<string, KeyObject>({ max: CACHED_KEYS });

  function keyOf(jkt: string, jwk: PublicJwk): KeyObject {
    const known = imported.get(jkt);
    if (known) return known;
    const key = orRefuse("jwk", "jwk is not a key", () => signingAsJose(createPublicKey({ key: jwk, format: "jwk" })));
    imported.set(jkt, key);
    return key;
  }

  return {
    verify({ method, url, proof, accessToken }) {
      // 1. At most one DPoP header.
      check("header", !proof.includes(","), "there is more than one");
      // 2. A single and well-formed JWT.
      const [, head = "", body = "", signature = ""] = COMPACT_JWS.exec(proof) ?? [];
      check("jwt", head !== "" && proof.length <= MAX_PROOF_LENGTH, "it is not a JWT");
      const [headerJson, claimsJson] = orRefuse("jwt", "it is not a JWT", () => [decode(head), decode(body)]);
      // 3. All required claims.
      const header = parse(Header, headerJson);
      const claims = parse(Claims, claimsJson);
      // 4. The expected typ.
      check("typ", header.typ === "dpop+jwt", "typ is not dpop+jwt");
      // 5. An accepted asymmetric signature algorithm.
      check(
        "alg",
        SIGNATURE_ALGORITHMS.some((alg) => alg === header.alg),
        `alg is none of ${SIGNATURE_ALGORITHMS.join(", ")}`,
      );
      // 7. No private members in the key, and a key that fits the algorithm.
      check("jwk", !isPrivateJwk(header.jwk), "jwk holds a private key");
      const jwk = orRefuse("jwk", "jwk is no P-256 or Ed25519 key", () => PublicJwk.parse(header.jwk));
      check("alg", fitsJwk(header.alg, jwk), "alg does not fit the key");
      // 8. and 9. Made for this method and address.
      check("htm", claims.htm === method, `htm is not ${method}`);
      check("htu", sameUri(claims.htu, url), `htu is not ${url}`);
      // 10. A nonce must be ours. 11. Made just now: by our clock if there is a nonce, else by the client's.
      const hasNonce = claims.nonce !== undefined;
      if (claims.nonce !== undefined && !acceptsNonce(claims.nonce)) throw nonceRequired();
      if (!hasNonce && Math.abs(now() / 1000 - claims.iat) > DPOP_CLOCK_SECONDS) throw nonceRequired({ check: "iat" });
      // 12. With a token: the proof is for this token, and by the key the token is bound to.
      const jkt = jwkThumbprint(jwk);
      if (accessToken) {
        check("ath", claims.ath === sha256(accessToken.value), "ath is not the hash of the access token");
        check("jkt", accessToken.jkt === undefined || accessToken.jkt === jkt, "the token is bound to another key");
      }
      // 6. Signed by the key in its header.
      check("signature", isSigned(keyOf(jkt, jwk), `${head}.${body}`, signature), "the signature is not good");
      return { jkt, jti: claims.jti, hasNonce };
    },
  };
}

/** The error for an invalid proof. */
export function proofInvalid(check: DpopCheck, why: string): AppError {
  return new AppError("UNAUTHENTICATED", "DPOP_PROOF_INVALID", `The DPoP proof is not valid: ${why}.`, {
    details: { check },
  });
}

/** Asks for the same request again, with the nonce that comes with the answer. */
export function nonceRequired(details?: { readonly check: DpopCheck }): AppError {
  const message = "The DPoP proof needs the nonce that comes with this answer.";
  return new AppError("UNAUTHENTICATED", "DPOP_NONCE_REQUIRED", message, details && { details });
}

function check(name: DpopCheck, holds: boolean, why: string): void {
  if (!holds) throw proofInvalid(name, why);
}

function orRefuse<T>(name: DpopCheck, why: string, attempt: () => T): T {
  try {
    return attempt();
  } catch {
    throw proofInvalid(name, why);
  }
}

function decode(part: string): unknown {
  return JSON.parse(Buffer.from(part, "base64url").toString("utf8"));
}

function parse<T>(schema: z.ZodType<T>, value: unknown): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw proofInvalid("claims", `${parsed.error.issues[0]?.path.join(".") ?? "a claim"} is missing or malformed`);
}

function isSigned(key: KeyObject, signed: string, signature: string): boolean {
  const digest = key.asymmetricKeyType === "ed25519" ? null : "sha256";
  return verify(digest, Buffer.from(signed), key, Buffer.from(signature, "base64url"));
}

function sha256(text: string): string {
  return hash("sha256", text, "base64url");
}
