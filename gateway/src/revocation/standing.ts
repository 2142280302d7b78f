/**
 * Whether a session stands, as far as this gateway knows; and while it cannot know, what the session's policy has said
 * for that case (its posture, carried in the access token).
 */
import type { AccessTokenClaims } from "@continuo/access";
import { AppError } from "@continuo/errors";
import { sessionEnded } from "../errors.ts";
import { type RevocationFeed, revocationUnknown } from "./revocation-feed.ts";
import { LONGEST_TOKEN_LIFE_MS, type RevocationSet } from "./revocation-set.ts";

/** Who asks, in the words of its access token. */
export type SessionClaims = Pick<AccessTokenClaims, "sid" | "posture">;

/** What for: to read, or to change something. */
export type Purpose = "READ" | "CHANGE";

export interface Standing {
  /** Throws UNAUTHENTICATED/SESSION_ENDED (details.endReason); UNAVAILABLE/REVOCATION_UNKNOWN. */
  assert(session: SessionClaims, purpose: Purpose): Promise<void>;
  /**
   * As `assert` for reading, of a token that is shown: UNAUTHENTICATED/TOKEN_REPLACED too, for one from before a step-up
   * (ASVS 7.2.4). What is open already goes on with its session.
   */
  assertToken(claims: SessionClaims & Pick<AccessTokenClaims, "gid">): Promise<void>;
}

/**
 * While revocations are not current: OPEN reads go on from memory for as long as a token may live, CLOSED is refused at once,
 * and all else waits for a read of the log, or is refused when that fails. Where session is away, all tokens are past their
 * life by then anyway; where only this gateway is cut off, whoever was signed out meanwhile is not let in for ever.
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
