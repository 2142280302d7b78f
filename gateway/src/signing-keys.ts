/**
 * The keys that access tokens are verified by, as session publishes them: looked at every minute, when a token names one
 * that is not there, and at once when session says that they have changed.
 */
import { createAccessTokenVerifier, type AccessTokenVerifier } from "@continuo/access";
import type { Logger } from "@continuo/process";
import { type Pokes, SIGNING_KEYS_TOPIC } from "@continuo/signals";
import { createRemoteJWKSet } from "jose";

/** When the word of it is lost, a key that is taken back is good for so long. Milliseconds. */
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
  lookEveryMs?: number;
}): Promise<Pick<AccessTokenVerifier, "verify"> & AsyncDisposable> {
  const { url, issuer, audience, pokes, logger, lookEveryMs = MAX_AGE_MS } = options;
  const keys = createRemoteJWKSet(url, { cacheMaxAge: MAX_AGE_MS, cooldownDuration: COOLDOWN_MS });
  const verifier = createAccessTokenVerifier({ issuer, audience, keys });

  /** By which tokens were verified that are not verified again. */
  let trusted: string | undefined;

  async function reload(): Promise<void> {
    await keys.reload();
    const published = JSON.stringify(keys.jwks());
    if (published !== trusted) verifier.forget();
    trusted = published;
  }

  function lookAgain(): void {
    if (keys.jwks() === undefined) return;
    reload().catch((cause: unknown) => logger.warn({ err: cause }, "the signing keys cannot be read"));
  }
  const subscription = await pokes.subscribe(SIGNING_KEYS_TOPIC, { onPoke: lookAgain, onGap: lookAgain });
  const timer = setInterval(lookAgain, lookEveryMs);
  return {
    verify: (token) => verifier.verify(token),
    [Symbol.asyncDispose]: () => {
      clearInterval(timer);
      return subscription[Symbol.asyncDispose]();
    },
  };
}
