/**
 * What a successful authentication ends in: a signed, single-use grant for the session subgraph.
 * Identity starts no session; redeeming the grant, once, is session's.
 */
import { GRANT_LIFE_SECONDS, type GrantSigner } from "@continuo/access";

/** Who has just proved to be whom, and how. */
export interface Authentication {
  readonly userId: string;
  /** The user's, as it was when they had proved themself. */
  readonly epoch: number;
  /** Assurance level, NIST SP 800-63B-4: `aal1` for one factor. */
  readonly acr: string;
  /** Methods, RFC 8176: `pwd`. */
  readonly amr: readonly [string, ...string[]];
}

/** `grant` is good once and until `expiresAt`. */
export interface IssuedGrant {
  readonly grant: string;
  readonly expiresAt: Date;
}

export interface Grants {
  issue(authentication: Authentication, now: Date): Promise<IssuedGrant>;
}

/** `newId` gives each grant the UUID that makes it single-use. */
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
