/**
 * The keys that verify access tokens, as session publishes them. They are read again every minute, when a token names
 * an unknown key, and as soon as session announces a change.
 */
import { createAccessTokenVerifier, type AccessTokenVerifier } from "@continuo/access";
import type { Logger } from "@continuo/process";
import { type Pokes, SIGNING_KEYS_TOPIC } from "@continuo/signals";
import { createRemoteJWKSet } from "jose";

/** The longest that a withdrawn key is still accepted if the announcement is lost. Milliseconds. */
const MAX_AGE_MS = 60_000;
/** The minimum time between reads that unknown keys cause. Milliseconds. */
const COOLDOWN_MS = 1_000;

/** Verifies with the keys at `url`; fetches them for the first token. */
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

  /** The key set behind the verifier's cached tokens. */
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
