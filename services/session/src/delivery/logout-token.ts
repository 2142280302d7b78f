/** Logout tokens (OpenID Connect Back-Channel Logout 1.0 section 2.4): one session's end, told to its application. */
import { SignJWT } from "jose";
import type { KeyRing } from "../signing-key/key-ring.ts";

/** The member of `events` that makes a token a logout token. */
export const LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout";

/** Seconds: no longer than the specification advises, so that a copy is soon of no use. */
const LIFE_SECONDS = 120;

export interface LogoutTokenSigner {
  /** A fresh token, with a `jti` of its own; never a `nonce`. */
  sign(session: { id: string; userId: string; applicationId: string }, now: Date): Promise<string>;
}

/** Signs with the key that signs access tokens, so that one JWKS verifies both. */
export function createLogoutTokenSigner(options: {
  keys: Pick<KeyRing, "current">;
  issuer: string;
  createId: () => string;
}): LogoutTokenSigner {
  const { keys, issuer, createId } = options;
  return {
    async sign({ id, userId, applicationId }, now) {
      const { kid, key } = await keys.current();
      const issuedAt = Math.floor(now.getTime() / 1_000);
      return new SignJWT({ sid: id, events: { [LOGOUT_EVENT]: {} } })
        .setProtectedHeader({ alg: "ES256", typ: "logout+jwt", kid })
        .setIssuer(issuer)
        .setAudience(applicationId)
        .setSubject(userId)
        .setIssuedAt(issuedAt)
        .setExpirationTime(issuedAt + LIFE_SECONDS)
        .setJti(createId())
        .sign(key);
    },
  };
}
