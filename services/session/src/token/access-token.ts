/** Minting of access tokens (RFC 9068); `@continuo/access` defines their claims. */
import type { AccessTokenClaims, Posture } from "@continuo/access";
import { expiryOf, type Session } from "../session/session.ts";
import type { KeyRing } from "../signing-key/key-ring.ts";

/** A session and the rotation state that its tokens are made from. */
export interface Authorization {
  readonly session: Session;
  readonly grantId: string;
  readonly generation: number;
  readonly keyId: number;
  readonly salt: Buffer;
  /** Life of an access token under the session's policy, in seconds. */
  readonly accessTokenSeconds: number;
  /** The policy's posture for operations while a gateway cannot know of revocations. */
  readonly posture: Posture;
  /** The greatest age of a sign-in for sensitive operations under the session's policy, in seconds. */
  readonly stepUpSeconds: number;
  /** The key that its tokens are bound to (RFC 9449); null for bearer tokens. */
  readonly jkt: string | null;
  /** The user's epoch. */
  readonly epoch: number;
}

/** The authorization for a session's first tokens, from a grant that was just created under `policy`. */
export function firstAuthorization(
  session: Session,
  grant: Pick<Authorization, "grantId" | "keyId" | "salt" | "jkt">,
  { policy, epoch }: { policy: Pick<Authorization, "accessTokenSeconds" | "posture" | "stepUpSeconds">; epoch: number },
): Authorization {
  const { grantId, keyId, salt, jkt } = grant;
  const { accessTokenSeconds, posture, stepUpSeconds } = policy;
  return { session, grantId, generation: 1, keyId, salt, jkt, accessTokenSeconds, posture, stepUpSeconds, epoch };
}

export interface AccessTokenMinter {
  /** A signed token; `expiresIn` is whole seconds from `now`. */
  mint(authorization: Authorization, now: Date): Promise<{ accessToken: string; expiresIn: number }>;
}

/** A token's life is shortened by a random fraction of up to this, so that a fleet does not refresh in step. */
const JITTER = 0.1;

/**
 * When a token minted at `now` expires, in NumericDate seconds: after the policy's life less up to 10 % (`random` in
 * [0, 1)), and never after the session's own deadlines.
 */
export function expiryOfToken(authorization: Authorization, now: Date, random: number): number {
  const life = authorization.accessTokenSeconds * (1 - JITTER * random) * 1_000;
  const latest = Math.min(now.getTime() + life, expiryOf(authorization.session).at.getTime());
  return Math.floor(latest / 1_000);
}

/** Signs with ES256. `createId` gives each token its `jti`. */
export function createAccessTokenMinter(options: {
  keys: Pick<KeyRing, "current">;
  issuer: string;
  audience: string;
  random: () => number;
  createId: () => string;
}): AccessTokenMinter {
  const { keys, issuer, audience, random, createId } = options;

  return {
    async mint(authorization, now) {
      const { session, grantId, generation, posture, stepUpSeconds, jkt, epoch } = authorization;
      const issuedAt = Math.floor(now.getTime() / 1_000);
      const expiresAt = expiryOfToken(authorization, now, random());
      const claims = {
        iss: issuer,
        aud: audience,
        sub: session.userId,
        client_id: session.applicationId,
        sid: session.id,
        did: session.deviceId,
        jti: createId(),
        iat: issuedAt,
        exp: expiresAt,
        auth_time: Math.floor(session.authTime.getTime() / 1_000),
        acr: session.acr,
        amr: session.amr,
        scope: "account",
        gid: grantId,
        gen: generation,
        uep: epoch,
        posture,
        step_up: stepUpSeconds,
        ...(jkt !== null && { cnf: { jkt } }),
      } satisfies AccessTokenClaims;
      const accessToken = (await keys.current()).sign("at+jwt", claims);
      return { accessToken, expiresIn: Math.max(0, Math.floor(expiresAt - now.getTime() / 1_000)) };
    },
  };
}
