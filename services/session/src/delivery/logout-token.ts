/**
 * Logout tokens (OpenID Connect Back-Channel Logout 1.0 section 2.4), which tell an application that a session ended.
 */
import type { KeyRing } from "../signing-key/key-ring.ts";

/** The member of `events` that makes a token a logout token. */
export const LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout";

/** Seconds; the longest life that the specification advises, so that a copied token soon expires. */
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
      const key = await keys.current();
      const iat = Math.floor(now.getTime() / 1_000);
      return key.sign("logout+jwt", {
        iss: issuer,
        aud: applicationId,
        sub: userId,
        sid: id,
        events: { [LOGOUT_EVENT]: {} },
        jti: createId(),
        iat,
        exp: iat + LIFE_SECONDS,
      });
    },
  };
}
