/**
 * The signed head of a chain: the installation's statement of where a user's chain ended at some moment. A head that
 * the user keeps later reveals that the chain was truncated or rewritten, which hashes alone cannot.
 */
import { compactVerify, errors, type CompactVerifyGetKey } from "jose";
import { z } from "zod";
import type { SigningKey } from "../signing-key/signing-key.ts";
import type { ChainEnds } from "./chain.ts";

/** `typ` of the JWS, so that no access or logout token can pass for a head. */
const HEAD_TYPE = "continuo-audit-head+jwt";

const hex = z.string().regex(/^[\da-f]{64}$/);
const Claims = z.object({
  iss: z.string(),
  /** The user. */
  sub: z.string(),
  /** Seconds since 1970. */
  iat: z.number().int(),
  seq: z.number().int(),
  hash: hex,
  base_seq: z.number().int(),
  base_hash: hex,
});

/** The content of a signed head. */
export interface SignedHead extends ChainEnds {
  readonly issuer: string;
  readonly at: Date;
}

export type HeadSigner = (ends: ChainEnds, at: Date) => Promise<string>;

/** Signs heads with the key that signs access tokens. */
export function createHeadSigner(options: { keys: { current(): Promise<SigningKey> }; issuer: string }): HeadSigner {
  const { keys, issuer } = options;
  return async ({ userId, base, head }, at) => {
    const claims: z.input<typeof Claims> = {
      iss: issuer,
      sub: userId,
      iat: Math.floor(at.getTime() / 1_000),
      seq: head.seq,
      hash: head.hash.toString("hex"),
      base_seq: base.seq,
      base_hash: base.hash.toString("hex"),
    };
    return (await keys.current()).sign(HEAD_TYPE, claims);
  };
}

/**
 * Undefined when it is no head, or not signed by one of `keys`. Passes on what `keys` throws when the keys are
 * unavailable.
 */
export async function openHead(jws: string, keys: CompactVerifyGetKey): Promise<SignedHead | undefined> {
  try {
    const { payload, protectedHeader } = await compactVerify(jws, keys, { algorithms: ["ES256"] });
    if (protectedHeader.typ !== HEAD_TYPE) return undefined;
    const claims = Claims.parse(JSON.parse(Buffer.from(payload).toString()));
    return {
      issuer: claims.iss,
      userId: claims.sub,
      at: new Date(claims.iat * 1_000),
      base: { seq: claims.base_seq, hash: Buffer.from(claims.base_hash, "hex") },
      head: { seq: claims.seq, hash: Buffer.from(claims.hash, "hex") },
    };
  } catch (cause) {
    const isNoHead =
      cause instanceof errors.JWSInvalid ||
      cause instanceof errors.JWSSignatureVerificationFailed ||
      cause instanceof errors.JWKSNoMatchingKey ||
      cause instanceof errors.JOSEAlgNotAllowed ||
      cause instanceof errors.JOSENotSupported ||
      cause instanceof z.ZodError ||
      cause instanceof SyntaxError;
    if (isNoHead) return undefined;
    throw cause;
  }
}
