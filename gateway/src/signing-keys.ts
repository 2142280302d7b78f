/**
 * The keys that access tokens are verified by, as session publishes them: kept for a minute, looked at again when a token
 * names one that is not there, and at once when session says that they have changed.
 */
import { createAccessTokenVerifier, type AccessTokenVerifier } from "@continuo/access";
import type { Logger } from "@continuo/process";
import { type Pokes, SIGNING_KEYS_TOPIC } from "@continuo/signals";
import { createRemoteJWKSet } from "jose";

/** When the word of it is lost, a key that is taken back verifies new tokens for so long, and those seen before until they expire. Milliseconds. */
const MAX_AGE_MS = 60_000;
/** However many tokens name unknown keys, session is asked no more often than this. Milliseconds. */
const COOLDOWN_MS = 1_000;

/** Verifies by the keys at `url`; reads them with the first token. */
export async function startTokenVerifier(options: {
  url: URL;
  issuer: string;
  audience: string;
  pokes: Pokes;
  logger: Logger;
}): Promise<Pick<AccessTokenVerifier, "verify"> & AsyncDisposable> {
  const { url, issuer, audience, pokes, logger } = options;
  const keys = createRemoteJWKSet(url, { cacheMaxAge: MAX_AGE_MS, cooldownDuration: COOLDOWN_MS });
  const verifier = createAccessTokenVerifier({ issuer, audience, keys });

  function lookAgain(): void {
    if (keys.jwks() === undefined) return;
    void keys.reload().then(
      () => verifier.forget(),
      (cause: unknown) => logger.warn({ err: cause }, "the signing keys cannot be read"),
    );
  }
  const subscription = await pokes.subscribe(SIGNING_KEYS_TOPIC, { onPoke: lookAgain, onGap: lookAgain });
  return {
    verify: (token) => verifier.verify(token),
    [Symbol.asyncDispose]: () => subscription[Symbol.asyncDispose](),
  };
}
