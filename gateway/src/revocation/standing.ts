/**
 * Decides whether a session is still valid, as far as this gateway knows; and while it cannot know, applies the session
 * policy's choice for that case (its posture, carried in the access token).
 */
import type { AccessTokenClaims } from "@continuo/access";
import { AppError } from "@continuo/errors";
import { sessionEnded } from "../errors.ts";
import { type RevocationFeed, revocationUnknown } from "./revocation-feed.ts";
import { LONGEST_TOKEN_LIFE_MS, type RevocationSet } from "./revocation-set.ts";

/** The claims that this decision depends on. */
export type SessionClaims = Pick<AccessTokenClaims, "sid" | "posture">;

/** What the session is used for. */
export type Purpose = "READ" | "CHANGE";

export interface Standing {
  /** Throws UNAUTHENTICATED/SESSION_ENDED (details.endReason); UNAVAILABLE/REVOCATION_UNKNOWN. */
  assert(session: SessionClaims, purpose: Purpose): Promise<void>;
  /**
   * As `assert` for READ, for a token being presented. Also throws UNAUTHENTICATED/TOKEN_REPLACED for one from before a
   * step-up (ASVS 7.2.4). Open streams continue with their session.
   */
  assertToken(claims: SessionClaims & Pick<AccessTokenClaims, "gid">): Promise<void>;
}

/**
 * While revocations are not current: OPEN reads continue from memory for as long as a token may live, CLOSED is refused
 * at once, and everything else waits for a read of the log and is refused if that fails. OPEN is bounded so that, if
 * only this gateway is cut off, a session that was signed out meanwhile does not keep access forever; if session itself
 * is away, all tokens have expired by then anyway.
 */
export function createStanding(options: {
  feed: Pick<RevocationFeed, "isCurrent" | "ageMs" | "assertCurrent">;
  revocations: Pick<RevocationSet, "endReasonOf">;
}): Standing {
  const { feed, revocations } = options;

  async function assertKnown(posture: SessionClaims["posture"], purpose: Purpose): Promise<void> {
    if (feed.isCurrent()) return;
    if (posture === "OPEN" && purpose === "READ" && feed.ageMs() < LONGEST_TOKEN_LIFE_MS) return;
    if (posture === "CLOSED") throw revocationUnknown();
    await feed.assertCurrent();
  }

  async function assert({ sid, posture }: SessionClaims, purpose: Purpose): Promise<void> {
    await assertKnown(posture, purpose);
    const endReason = revocations.endReasonOf(sid);
    if (endReason !== undefined) throw sessionEnded(endReason);
  }

  return {
    assert,
    async assertToken(claims) {
      await assert(claims, "READ");
      if (revocations.endReasonOf(claims.gid) === undefined) return;
      throw new AppError("UNAUTHENTICATED", "TOKEN_REPLACED", "The user has signed in again since: use the new token.");
    },
  };
}
