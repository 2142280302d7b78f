/**
 * Rotation of refresh tokens (RFC 9700 section 4.14.2): each is exchanged once for its successor. A repeat gets the
 * same successor as long as the client may not have received it; a later repeat counts as theft and ends this one
 * session. Needs no lock and no list of tokens: a compare-and-set advances a generation number.
 */
import { acrSuffices } from "@continuo/access";
import { AppError } from "@continuo/errors";
import type { Logger } from "@continuo/process";
import { tokenNotYours } from "../application/application.ts";
import { clientInvalid, type AuthenticatedClient } from "../application/client-authentication.ts";
import { acrTooLow, type Policy } from "../policy/policy.ts";
import { sessionEnded, standingOf, type Session } from "../session/session.ts";
import type { AccessTokenMinter, Authorization } from "./access-token.ts";
import type { RefreshTokenCodec, RefreshTokenParts } from "./refresh-token.ts";

/** A grant as read after its generation could not be advanced. */
export interface GrantState extends Authorization {
  readonly isActive: boolean;
  /** The highest generation known to have reached the client. */
  readonly confirmedGeneration: number;
  /** Whether its generation was advanced within the last CONCURRENT_MS, by the clock that dated the rotation. */
  readonly hasJustRotated: boolean;
  /** The weakest authentication context class that the session's policy accepts; null for any. */
  readonly requiredAcr: string | null;
  /** Whether its application must authenticate to refresh. */
  readonly isConfidential: boolean;
  /** Whether that policy requires a key. */
  readonly deviceBinding: Policy["deviceBinding"];
}

/** The presenter of a refresh token. */
export interface Presenter {
  /** Thumbprint of the key whose DPoP proof came with it; null for none. */
  readonly jkt: string | null;
  /**
   * The client, if it identified itself; it may present only its own tokens. Null accepts only tokens of public
   * clients.
   */
  readonly client: Pick<AuthenticatedClient, "id" | "isConfidential"> | null;
}

/** What a session lacks that its policy now requires; a step-up provides it. */
type Lack = "ACR_TOO_LOW" | "KEY_REQUIRED";

/** What to do with a token whose generation could not be advanced. */
export type Judgement =
  | "SUCCESSOR_AGAIN"
  | "ENDED"
  | "REPLACED"
  | "KEY_NOT_PROVEN"
  | Lack
  | "REUSED"
  | "AHEAD"
  | "ADVANCE_AGAIN";

/** Parallel and repeated refreshes within this time count as one client's, even if the successor is already in use. */
export const CONCURRENT_MS = 10_000;

/**
 * The rule, in the order of its checks. A presenter without the key of a bound grant learns and changes nothing, so a
 * stolen token cannot sign its owner out.
 */
export function judge(grant: GrantState, presented: number, by: Presenter, now: Date): Judgement {
  if (grant.jkt !== null && grant.jkt !== by.jkt && !mayUseAnyKey(by)) return "KEY_NOT_PROVEN";
  if (standingOf(grant.session, now).state !== "ACTIVE") return "ENDED";
  // Ending a session revokes its grants; if the session is still live, a step-up revoked this one.
  if (!grant.isActive) return "REPLACED";
  if (presented > grant.generation) return "AHEAD";
  const lack = lackOf(grant);
  if (presented === grant.generation) return lack ?? "ADVANCE_AGAIN";
  const isPredecessor = presented === grant.generation - 1;
  const mayBeLost = grant.confirmedGeneration < grant.generation;
  if (!isPredecessor || !(grant.hasJustRotated || mayBeLost)) return "REUSED";
  return lack ?? "SUCCESSOR_AGAIN";
}

/**
 * Whether a proof by any key suffices. A confidential client's refresh tokens are bound to its client authentication,
 * so a renewed or lost DPoP key signs nobody out (RFC 9449 section 5). Without a proof, a bound token never becomes a
 * bearer token.
 */
export function mayUseAnyKey({ jkt, client }: Presenter): boolean {
  return jkt !== null && client !== null && client.isConfidential;
}

function lackOf({ session, requiredAcr, deviceBinding, jkt }: GrantState): Lack | undefined {
  if (!acrSuffices(session.acr, requiredAcr)) return "ACR_TOO_LOW";
  return deviceBinding === "DPOP" && jkt === null ? "KEY_REQUIRED" : undefined;
}

export interface RotationStore {
  /**
   * Advances the grant if it has the presented generation and salt and is bound to no key other than the proven one (or
   * `mayUseAnyKey`), and if its session is live at `now`, belongs to the client's application (null: to any public one)
   * and has the acr and key that its policy requires. One statement, one winner. The grant continues under the master
   * key `keyId` and, if it is bound, with the proven key. Undefined when it was not advanced.
   */
  advance(
    presented: RefreshTokenParts,
    by: Presenter & { readonly keyId: number },
    now: Date,
  ): Promise<Authorization | undefined>;
  /** Writes a GRANT_AHEAD event, once per session however often the token is presented. */
  noteAhead(grant: GrantState, presented: number, now: Date): Promise<void>;
  /** The grant's current state; undefined when there is none with that id and salt. */
  read(presented: RefreshTokenParts): Promise<GrantState | undefined>;
  /**
   * A grant's session, and whether the grant is active (false after a step-up or the session's end); undefined for an
   * unknown id.
   */
  sessionOf(grantId: string): Promise<Pick<GrantState, "session" | "isActive"> | undefined>;
}

/** The tokens that a client keeps to stay signed in. */
export interface SessionTokens {
  readonly accessToken: string;
  /** RFC 9449 section 5. */
  readonly tokenType: "Bearer" | "DPoP";
  /** Seconds from now. */
  readonly expiresIn: number;
  readonly refreshToken: string;
  readonly session: Session;
}

/** The tokens of an authorization's current generation. */
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

/** A client's request for fresh tokens. */
export interface RefreshRequest {
  readonly refreshToken: string;
  /** Thumbprint of the key whose DPoP proof came with the request. */
  readonly jkt?: string | undefined;
  /** As in `Presenter`. */
  readonly client?: Presenter["client"] | undefined;
}

/** The use cases of refresh tokens. */
export interface Rotation {
  /**
   * Exchanges a refresh token. Throws UNAUTHENTICATED: REFRESH_TOKEN_INVALID (junk, forged, unknown), TOKEN_NOT_YOURS,
   * CLIENT_INVALID, GRANT_ROLLED_BACK, DPOP_REQUIRED, DPOP_KEY_MISMATCH, REFRESH_TOKEN_REUSED (theft: this session has
   * been ended), SESSION_ENDED, TOKEN_REPLACED (by a step-up); STEP_UP_REQUIRED: ACR_TOO_LOW, KEY_REQUIRED;
   * UNAVAILABLE/REFRESH_UNSETTLED.
   */
  refresh(request: RefreshRequest, logger: Logger): Promise<SessionTokens>;
  /**
   * The grant of a refresh token, without exchanging it; also one that a step-up has replaced. Throws as `refresh`
   * does, but does not require the policy's acr or key, nor client authentication.
   */
  present(request: RefreshRequest, logger: Logger): Promise<GrantState>;
}

const ATTEMPTS = 3;

/** Wires the use cases. */
export function createRotation(options: {
  store: RotationStore;
  accessTokens: AccessTokenMinter;
  refreshTokens: RefreshTokenCodec;
  /** Ends a session because of reuse. */
  endForReuse: (session: Session) => Promise<void>;
  now: () => Date;
}): Rotation {
  const { store, refreshTokens, endForReuse, now } = options;

  function decode(refreshToken: string): RefreshTokenParts {
    const presented = refreshTokens.decode(refreshToken);
    if (presented === undefined) throw invalid();
    return presented;
  }

  /** Reads and judges the grant; throws if the judgement is a refusal. */
  async function look(
    presented: RefreshTokenParts,
    { by, at, logger }: { by: Presenter; at: Date; logger: Logger },
    isExchange: boolean,
  ): Promise<{ grant: GrantState; judgement: "SUCCESSOR_AGAIN" | "ADVANCE_AGAIN" | "REPLACED" | Lack }> {
    const grant = await store.read(presented);
    const facts = { grantId: presented.grantId, presented: presented.generation, current: grant?.generation };
    if (grant === undefined) {
      logger.error(facts, "a genuine refresh token of an unknown grant: an old one, or the database has lost rows");
      throw invalid();
    }
    if (by.client !== null && grant.session.applicationId !== by.client.id) throw tokenNotYours();
    if (isExchange && by.client === null && grant.isConfidential)
      throw clientInvalid("it is confidential, and has not authenticated");
    const judgement = judge(grant, presented.generation, by, at);
    switch (judgement) {
      case "SUCCESSOR_AGAIN":
      case "ADVANCE_AGAIN":
      case "ACR_TOO_LOW":
      case "KEY_REQUIRED":
        return { grant, judgement };
      case "REPLACED":
        if (!isExchange) return { grant, judgement };
        throw tokenReplaced();
      case "ENDED": {
        const standing = standingOf(grant.session, at);
        throw sessionEnded(standing.state === "ACTIVE" ? null : standing.endReason);
      }
      case "KEY_NOT_PROVEN":
        throw by.jkt === null
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
        await store.noteAhead(grant, presented.generation, at);
        throw new AppError(
          "UNAUTHENTICATED",
          "GRANT_ROLLED_BACK",
          "This refresh token is newer than what we know of its session: sign in again.",
        );
    }
  }

  return {
    async refresh({ refreshToken, jkt = null, client = null }, logger) {
      const presented = decode(refreshToken);
      const by = { jkt, client, keyId: refreshTokens.currentKeyId };
      for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
        const at = now();
        const advanced = await store.advance(presented, by, at);
        if (advanced) return issueTokens(advanced, at, options);
        const { grant, judgement } = await look(presented, { by, at, logger }, true);
        if (judgement === "SUCCESSOR_AGAIN")
          return issueTokens({ ...grant, jkt: grant.jkt === null ? null : jkt }, at, options);
        if (judgement === "ACR_TOO_LOW") throw acrTooLow(grant.requiredAcr);
        if (judgement === "KEY_REQUIRED") throw keyRequired(grant);
      }
      throw new AppError("UNAVAILABLE", "REFRESH_UNSETTLED", "Too much at once: try again.");
    },

    async present({ refreshToken, jkt = null, client = null }, logger) {
      return (await look(decode(refreshToken), { by: { jkt, client }, at: now(), logger }, false)).grant;
    },
  };
}

/**
 * UNAUTHENTICATED/TOKEN_REPLACED: the token is from before a step-up. The session goes on, so this is not
 * SESSION_ENDED.
 */
export function tokenReplaced(): AppError {
  return new AppError("UNAUTHENTICATED", "TOKEN_REPLACED", "The user has signed in again since: use the new token.");
}

/** UNAUTHENTICATED/DPOP_REQUIRED: the request must come with a DPoP proof (RFC 9449). */
export function dpopRequired(): AppError {
  return new AppError("UNAUTHENTICATED", "DPOP_REQUIRED", "This needs a DPoP proof by the device's key.");
}

/** STEP_UP_REQUIRED/KEY_REQUIRED, with the sufficient values in `details.acrValues` (RFC 9470 section 3). */
function keyRequired({ session, requiredAcr }: GrantState): AppError {
  const message = "This application asks for a key of the device by now: sign in again, with a proof by it.";
  return new AppError("STEP_UP_REQUIRED", "KEY_REQUIRED", message, {
    details: { acrValues: [requiredAcr ?? session.acr] },
  });
}

function invalid(): AppError {
  return new AppError("UNAUTHENTICATED", "REFRESH_TOKEN_INVALID", "The refresh token is not valid.");
}
