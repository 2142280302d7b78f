/**
 * A token presented at the revocation or introspection endpoint, and what it stands for. Reading it changes nothing,
 * even for a refresh token that was used before.
 */
import { isAppError } from "@continuo/errors";
import type { AccessTokenClaims, AccessTokenVerifier } from "@continuo/access";
import { standingOf, type Session } from "../session/session.ts";
import type { RefreshTokenCodec, RefreshTokenParts } from "../token/refresh-token.ts";
import { judge, type GrantState, type RotationStore } from "../token/rotation.ts";

export type PresentedToken =
  | {
      readonly kind: "ACCESS";
      readonly claims: AccessTokenClaims;
      readonly session: Session;
      readonly isActive: boolean;
    }
  | { readonly kind: "REFRESH"; readonly grant: GrantState; readonly session: Session; readonly isActive: boolean };

export type RecognisedToken =
  | { readonly kind: "ACCESS"; readonly claims: AccessTokenClaims }
  | { readonly kind: "REFRESH"; readonly parts: RefreshTokenParts };

/**
 * Both return undefined for a token that we did not issue or no longer know, and for an expired access token. The two
 * kinds differ in format, so `token_type_hint` is not needed (RFC 7009 section 2.1).
 */
export interface PresentedTokens {
  /** Its session, and whether the token is still active. */
  read(token: string): Promise<PresentedToken | undefined>;
  /** Its content, without reading its session. */
  recognise(token: string): Promise<RecognisedToken | undefined>;
}

export function createPresentedTokens(options: {
  accessTokens: Pick<AccessTokenVerifier, "verify">;
  refreshTokens: Pick<RefreshTokenCodec, "decode">;
  grants: Pick<RotationStore, "read" | "sessionOf">;
  now: () => Date;
}): PresentedTokens {
  const { accessTokens, refreshTokens, grants, now } = options;

  async function claimsOf(token: string): Promise<AccessTokenClaims | undefined> {
    try {
      return await accessTokens.verify(token);
    } catch (cause) {
      if (isAppError(cause) && cause.code === "UNAUTHENTICATED") return undefined;
      throw cause;
    }
  }

  async function recognise(token: string): Promise<RecognisedToken | undefined> {
    const parts = refreshTokens.decode(token);
    if (parts !== undefined) return { kind: "REFRESH", parts };
    const claims = await claimsOf(token);
    return claims && { kind: "ACCESS", claims };
  }

  return {
    recognise,

    async read(token) {
      const at = now();
      const recognised = await recognise(token);
      if (recognised?.kind === "REFRESH") {
        const { parts } = recognised;
        const grant = await grants.read(parts);
        if (grant === undefined) return undefined;
        const judgement = judge(grant, parts.generation, { jkt: grant.jkt, client: null }, at);
        const isActive = judgement === "ADVANCE_AGAIN" || judgement === "SUCCESSOR_AGAIN";
        return { kind: "REFRESH", grant, session: grant.session, isActive };
      }
      if (recognised === undefined) return undefined;
      const { claims } = recognised;
      const found = await grants.sessionOf(claims.gid);
      if (found === undefined) return undefined;
      const { session } = found;
      const isActive = found.isActive && standingOf(session, at).state === "ACTIVE";
      return { kind: "ACCESS", claims, session, isActive };
    },
  };
}
