/**
 * The result of a successful authentication: a signed, single-use grant for the session subgraph.
 * Identity starts no session; the session subgraph redeems the grant, once.
 */
import { GRANT_LIFE_SECONDS, type GrantSigner } from "@continuo/access";

/** Which user has just authenticated, and how. */
export interface Authentication {
  readonly userId: string;
  /** The user's epoch at the time of authentication. */
  readonly epoch: number;
  /** Assurance level, NIST SP 800-63B-4: `aal1` for one factor. */
  readonly acr: string;
  /** Methods, RFC 8176: `pwd`. */
  readonly amr: readonly [string, ...string[]];
}

/** `grant` can be redeemed once, until `expiresAt`. */
export interface IssuedGrant {
  readonly grant: string;
  readonly expiresAt: Date;
}

export interface Grants {
  issue(authentication: Authentication, now: Date): Promise<IssuedGrant>;
}

/** `newId` makes each grant's `jti`, a UUID, by which it is single-use. */
export function createGrants(signer: GrantSigner, newId: () => string): Grants {
  return {
    async issue({ userId, epoch, acr, amr }, now) {
      const seconds = Math.floor(now.getTime() / 1000);
      const grant = await signer.sign(
        { jti: newId(), sub: userId, epoch, acr, amr: [...amr], auth_time: seconds },
        now,
      );
      return { grant, expiresAt: new Date((seconds + GRANT_LIFE_SECONDS) * 1000) };
    },
  };
}
