/**
 * Tickets authenticate callers that cannot send headers (a browser's WebSocket or EventSource). A ticket is requested
 * over authenticated HTTP, with the DPoP proof if the token is bound to a key, and redeemed once, at any replica,
 * within 30 s (ASVS 4.4.3, 4.4.4). It is not a token: it opens one stream and does not say whether the session is still
 * valid.
 */
import { AccessTokenClaims, type Jwk } from "@continuo/access";
import { AppError } from "@continuo/errors";
import { errors, importJWK, jwtVerify, SignJWT } from "jose";
import { randomUUID } from "node:crypto";
import { z } from "zod";
import type { ReplayCache } from "../dpop/replay-cache.ts";

/** How long a ticket can be redeemed. */
const TICKET_LIFE_SECONDS = 30;

const ISSUER = "continuo-gateway";
const TYPE = "continuo-ticket+jwt";
const Payload = z.object({ jti: z.uuid(), claims: AccessTokenClaims });

export interface Tickets {
  /** Issues a ticket for the holder of this access token; `expiresIn` is seconds from now. */
  issue(claims: AccessTokenClaims): Promise<{ ticket: string; expiresIn: number }>;
  /**
   * Returns the access token's claims, once per ticket. Throws UNAUTHENTICATED: TICKET_INVALID, TICKET_EXPIRED,
   * TICKET_USED; UNAVAILABLE: REPLAY_UNKNOWN.
   */
  redeem(ticket: string): Promise<AccessTokenClaims>;
}

/** Signs with the gateway's key, which all replicas share. `now` is the wall clock. */
export function createTickets(options: { privateJwk: Jwk; replayCache: ReplayCache; now?: () => Date }): Tickets {
  const { privateJwk, replayCache, now = () => new Date() } = options;
  const { d: _secret, ...publicJwk } = privateJwk;
  const signingKey = importJWK(privateJwk, "Ed25519");
  const verifyingKey = importJWK(publicJwk, "Ed25519");

  return {
    async issue(claims) {
      const issuedAt = Math.floor(now().getTime() / 1_000);
      const expiresAt = Math.min(issuedAt + TICKET_LIFE_SECONDS, claims.exp);
      const ticket = await new SignJWT({ claims })
        .setProtectedHeader({ alg: "Ed25519", typ: TYPE })
        .setIssuer(ISSUER)
        .setAudience(ISSUER)
        .setJti(randomUUID())
        .setExpirationTime(expiresAt)
        .sign(await signingKey);
      return { ticket, expiresIn: expiresAt - issuedAt };
    },

    async redeem(ticket) {
      const { jti, claims } = await read(ticket);
      if (await replayCache.reserve(`ticket ${jti}`, 2 * TICKET_LIFE_SECONDS * 1_000)) return claims;
      throw new AppError("UNAUTHENTICATED", "TICKET_USED", "The ticket has been used: ask for another.");
    },
  };

  async function read(ticket: string): Promise<z.infer<typeof Payload>> {
    try {
      const { payload } = await jwtVerify(ticket, await verifyingKey, {
        issuer: ISSUER,
        audience: ISSUER,
        typ: TYPE,
        algorithms: ["Ed25519"],
        requiredClaims: ["exp"],
        currentDate: now(),
      });
      return Payload.parse(payload);
    } catch (cause) {
      if (cause instanceof errors.JWTExpired)
        throw new AppError("UNAUTHENTICATED", "TICKET_EXPIRED", "The ticket has waited too long: ask for another.");
      throw new AppError("UNAUTHENTICATED", "TICKET_INVALID", "The ticket is not valid.", { cause });
    }
  }
}
