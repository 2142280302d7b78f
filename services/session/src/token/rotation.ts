/**
 * Rotation of refresh tokens (RFC 9700 section 4.14.2): each is exchanged once for its successor, a repeat gets the same
 * successor while its holder may not have received it, and a repeat beyond that is theft and ends this session alone.
 * Not a lock and not a list of tokens: a generation number moved by compare-and-set.
 */
import { AppError } from "@continuo/errors";
import type { Logger } from "@continuo/process";
import { sessionEnded, standingOf, type Session } from "../session/session.ts";
import type { AccessTokenMinter, Authorization } from "./access-token.ts";
import type { RefreshTokenCodec, RefreshTokenParts } from "./refresh-token.ts";

/** A grant as it is read when its generation could not be advanced. */
export interface GrantState extends Authorization {
  readonly isActive: boolean;
  /** The highest generation known to have reached the client. */
  readonly confirmedGeneration: number;
  readonly rotatedAt: Date;
}

/** What to do with a token whose generation could not be advanced. */
export type Judgement = "SUCCESSOR_AGAIN" | "ENDED" | "KEY_NOT_PROVEN" | "REUSED" | "AHEAD" | "ADVANCE_AGAIN";

/** Parallel callers and repeats within this time are one client, also when the successor is already in use. */
const CONCURRENT_MS = 10_000;

/**
 * The rule, in the order of its questions. Whoever lacks the key of a bound grant learns nothing and changes nothing:
 * a stolen token must not sign its owner out.
 */
export function judge(grant: GrantState, presented: number, jkt: string | null, now: Date): Judgement {
  if (grant.jkt !== null && grant.jkt !== jkt) return "KEY_NOT_PROVEN";
  if (!grant.isActive || standingOf(grant.session, now).state !== "ACTIVE") return "ENDED";
  if (presented > grant.generation) return "AHEAD";
  if (presented === grant.generation) return "ADVANCE_AGAIN";
  const isPredecessor = presented === grant.generation - 1;
  const isRecent = now.getTime() - grant.rotatedAt.getTime() <= CONCURRENT_MS;
  const mayBeLost = grant.confirmedGeneration < grant.generation;
  return isPredecessor && (isRecent || mayBeLost) ? "SUCCESSOR_AGAIN" : "REUSED";
}

export interface RotationStore {
  /**
   * Advances the grant if it stands at the presented generation, with the presented salt, is bound to no other key than
   * `jkt`, and its session is live at `now`: one statement, one winner. Undefined when it does not.
   */
  advance(presented: RefreshTokenParts, jkt: string | null, now: Date): Promise<Authorization | undefined>;
  /** The grant as it stands; undefined when there is none with that id and salt. */
  read(presented: RefreshTokenParts): Promise<GrantState | undefined>;
}

/** What a client keeps to stay signed in. */
export interface SessionTokens {
  readonly accessToken: string;
  /** RFC 9449 section 5. */
  readonly tokenType: "Bearer" | "DPoP";
  /** Seconds from now. */
  readonly expiresIn: number;
  readonly refreshToken: string;
  readonly session: Session;
}

/** The tokens of an authorization at its generation. */
export async function issueTokens(
  authorization: Authorization,
  now: Date,
  makers: { accessTokens: AccessTokenMinter; refreshTokens: RefreshTokenCodec },
): Promise<SessionTokens> {
  return {
    ...(await makers.accessTokens.mint(authorization, now)),
    tokenType: authorization.jkt === null ? "Bearer" : "DPoP",
    refreshToken: makers.refreshTokens.encode(authorization),
    session: authorization.session,
  };
}

/** What a client sends to be given fresh tokens. */
export interface RefreshRequest {
  readonly refreshToken: string;
  /** Thumbprint of the key whose DPoP proof came with the request. */
  readonly jkt?: string | undefined;
}

export type RefreshSession = (request: RefreshRequest, logger: Logger) => Promise<SessionTokens>;

const ATTEMPTS = 3;

/**
 * Exchanges a refresh token; `jkt` is the key whose proof came with it. Throws UNAUTHENTICATED: REFRESH_TOKEN_INVALID
 * (junk, forged, unknown), GRANT_ROLLED_BACK, DPOP_REQUIRED, DPOP_KEY_MISMATCH, REFRESH_TOKEN_REUSED (theft: this session
 * has been ended), SESSION_ENDED; UNAVAILABLE/REFRESH_UNSETTLED.
 */
export function createRefreshSession(options: {
  store: RotationStore;
  accessTokens: AccessTokenMinter;
  refreshTokens: RefreshTokenCodec;
  /** Ends one session, for reuse. */
  endForReuse: (session: Session) => Promise<void>;
  now: () => Date;
}): RefreshSession {
  const { store, refreshTokens, endForReuse, now } = options;

  return async ({ refreshToken, jkt = null }, logger) => {
    const presented = refreshTokens.decode(refreshToken);
    if (presented === undefined) throw invalid();
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
      const at = now();
      const advanced = await store.advance(presented, jkt, at);
      if (advanced) return issueTokens(advanced, at, options);
      const grant = await store.read(presented);
      const facts = { grantId: presented.grantId, presented: presented.generation, current: grant?.generation };
      if (grant === undefined) {
        logger.error(facts, "a genuine refresh token of an unknown grant: an old one, or the database has lost rows");
        throw invalid();
      }
      switch (judge(grant, presented.generation, jkt, at)) {
        case "SUCCESSOR_AGAIN":
          return issueTokens(grant, at, options);
        case "ENDED": {
          const standing = standingOf(grant.session, at);
          throw sessionEnded(standing.state === "ACTIVE" ? null : standing.endReason);
        }
        case "KEY_NOT_PROVEN":
          throw jkt === null
            ? dpopRequired()
            : new AppError("UNAUTHENTICATED", "DPOP_KEY_MISMATCH", "The refresh token is bound to another key.");
        case "REUSED":
          logger.warn({ ...facts, sessionId: grant.session.id }, "a refresh token was used again: ending its session");
          await endForReuse(grant.session);
          throw new AppError(
            "UNAUTHENTICATED",
            "REFRESH_TOKEN_REUSED",
            "This refresh token had already been exchanged; its session has been ended.",
          );
        case "AHEAD":
          logger.error(facts, "a genuine refresh token is newer than its grant: the database went back in time");
          throw new AppError(
            "UNAUTHENTICATED",
            "GRANT_ROLLED_BACK",
            "This refresh token is newer than what we know of its session: sign in again.",
          );
        case "ADVANCE_AGAIN":
          continue;
      }
    }
    throw new AppError("UNAVAILABLE", "REFRESH_UNSETTLED", "Too much at once: try again.");
  };
}

/** UNAUTHENTICATED/DPOP_REQUIRED: the request must come with a DPoP proof (RFC 9449). */
export function dpopRequired(): AppError {
  return new AppError("UNAUTHENTICATED", "DPOP_REQUIRED", "This needs a DPoP proof by the device's key.");
}

function invalid(): AppError {
  return new AppError("UNAUTHENTICATED", "REFRESH_TOKEN_INVALID", "The refresh token is not valid.");
}
