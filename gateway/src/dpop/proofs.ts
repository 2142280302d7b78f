/**
 * Proofs of possession at the door: a proof is good, is for this request, and is used once.
 * Whose key it is, and what that allows, is not decided here.
 */
import { type DpopVerifier, nonceRequired, proofInvalid, DPOP_CLOCK_SECONDS } from "@continuo/access";
import { isAppError } from "@continuo/errors";
import { NONCE_LIFE_MS } from "./nonces.ts";
import { replayUnknown, type ReplayCache } from "./replay-cache.ts";

/** A proof that was good for its request. */
export interface Proof {
  /** RFC 7638 thumbprint of the key that signed it. */
  readonly jkt: string;
  /** Carries a nonce of ours: it was made within the last two minutes. */
  readonly hasNonce: boolean;
  /** False while nobody can say whether it was used before. */
  readonly isFirstUse: boolean;
}

export interface Proofs {
  /**
   * Checks the proof of a request by RFC 9449 section 4.3, and that it was not used before. With `nonceRequired` it is
   * good enough to change something; without, a nonce makes up for a replay cache that cannot be reached.
   * Throws AppError UNAUTHENTICATED: DPOP_PROOF_INVALID (details.check), DPOP_NONCE_REQUIRED; UNAVAILABLE: REPLAY_UNKNOWN.
   */
  check(request: {
    readonly method: string;
    /** Where the request arrived, without origin and query. */
    readonly path: string;
    /** The value of the DPoP header. */
    readonly proof: string;
    readonly accessToken?: { readonly value: string; readonly jkt: string | undefined } | undefined;
    readonly nonceRequired: boolean;
  }): Promise<Proof>;
}

/** How long a proof may be repeated: as long as its nonce, or its `iat` at either end of what is allowed, would let it. */
const REMEMBER_MS = Math.max(NONCE_LIFE_MS, 2 * DPOP_CLOCK_SECONDS * 1_000) + 30_000;

/** `publicUrl` is where clients reach this gateway, without a slash at the end. */
export function createProofs(options: {
  verifier: DpopVerifier;
  replayCache: ReplayCache;
  publicUrl: () => string;
}): Proofs {
  const { verifier, replayCache, publicUrl } = options;

  /** False when nobody knows. */
  async function claim(key: string): Promise<boolean> {
    try {
      if (await replayCache.reserve(key, REMEMBER_MS)) return true;
    } catch (cause) {
      if (isAppError(cause) && cause.reason === "REPLAY_UNKNOWN") return false;
      throw cause;
    }
    throw proofInvalid("jti", "it was used before");
  }

  return {
    async check({ method, path, proof, accessToken, nonceRequired: forChange }) {
      const url = publicUrl() + path;
      const { jkt, jti, hasNonce } = verifier.verify({ method, url, proof, accessToken });
      if (forChange && !hasNonce) throw nonceRequired();
      const isFirstUse = await claim(JSON.stringify(["dpop", jkt, method, url, jti]));
      if (!isFirstUse && (forChange || !hasNonce)) throw replayUnknown();
      return { jkt, hasNonce, isFirstUse };
    },
  };
}

/** Throws what `check` with `nonceRequired` would have, for whoever learns only later that the request changes something. */
export function assertMayChange({ hasNonce, isFirstUse }: Proof): void {
  if (!hasNonce) throw nonceRequired();
  if (!isFirstUse) throw replayUnknown();
}
