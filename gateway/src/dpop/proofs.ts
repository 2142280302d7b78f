/**
 * Checks DPoP proofs on arrival: that a proof is valid, is for this request, and is used only once. Does not decide
 * whose key it is or what the key allows.
 */
import { type DpopVerifier, nonceRequired, proofInvalid, DPOP_CLOCK_SECONDS } from "@continuo/access";
import { isAppError } from "@continuo/errors";
import { NONCE_LIFE_MS } from "./nonces.ts";
import { replayUnknown, type ReplayCache } from "./replay-cache.ts";

/** A proof that was valid for its request. */
export interface Proof {
  /** RFC 7638 thumbprint of the key that signed it. */
  readonly jkt: string;
  /** The proof carries a nonce of this gateway, so it was made within the last two minutes. */
  readonly hasNonce: boolean;
  /** False when the replay cache could not tell whether the proof was used before. */
  readonly isFirstUse: boolean;
}

export interface Proofs {
  /**
   * Checks a request's proof according to RFC 9449 section 4.3, and that it was not used before. With `nonceRequired`
   * the proof is strong enough for a change; without it, a nonce makes up for an unreachable replay cache. Throws
   * AppError UNAUTHENTICATED: DPOP_PROOF_INVALID (details.check), DPOP_NONCE_REQUIRED; UNAVAILABLE: REPLAY_UNKNOWN.
   */
  check(request: {
    readonly method: string;
    /** The path the request arrived at, without origin and query. */
    readonly path: string;
    /** The value of the DPoP header. */
    readonly proof: string;
    readonly accessToken?: { readonly value: string; readonly jkt: string | undefined } | undefined;
    readonly nonceRequired: boolean;
  }): Promise<Proof>;
}

/**
 * How long a proof could be replayed: for the life of its nonce, or from one end of the accepted `iat` range to the
 * other.
 */
const REMEMBER_MS = Math.max(NONCE_LIFE_MS, 2 * DPOP_CLOCK_SECONDS * 1_000) + 30_000;

/** `publicUrl` is the gateway's public URL, without a trailing slash. */
export function createProofs(options: {
  verifier: DpopVerifier;
  replayCache: ReplayCache;
  publicUrl: () => string;
}): Proofs {
  const { verifier, replayCache, publicUrl } = options;

  /** False when the replay cache cannot tell. */
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

/**
 * Throws what `check` with `nonceRequired` would have thrown, for callers that learn only later that the request is a
 * change.
 */
export function assertMayChange({ hasNonce, isFirstUse }: Proof): void {
  if (!hasNonce) throw nonceRequired();
  if (!isFirstUse) throw replayUnknown();
}
