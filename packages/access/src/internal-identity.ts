/**
 * The internal identity: the gateway's short-lived signed statement to subgraphs about who is calling.
 * Subgraphs accept nothing else, neither the public token nor plain headers (in the spirit of OAuth Transaction Tokens).
 */
import { AppError } from "@continuo/errors";
import { importJWK, jwtVerify } from "jose";
import { LRUCache } from "lru-cache";
import { z } from "zod";
import { requestContextOf, viewerOf, type Caller } from "./caller.ts";
import { createJwtSigner } from "./jwt-signer.ts";
import type { Jwk } from "./keys.ts";
import { createVerifiedCache } from "./verified-cache.ts";

/** Carries the signed identity from gateway to subgraph. */
export const IDENTITY_HEADER = "x-continuo-identity";
/** Carries the request id through every service and log line. */
export const REQUEST_ID_HEADER = "x-request-id";

const ISSUER = "continuo-gateway";
const AUDIENCE = "continuo-subgraphs";
const TYPE = "continuo-identity+jwt";
const LIFE_SECONDS = 60;
/** How long a signed statement is reused, so that a busy session does not cost one signature per request. */
const REUSE_MS = 30_000;

const RequestContext = z.object({ jkt: z.string().optional(), ip_prefix: z.string().optional() });

const Claims = z.discriminatedUnion("kind", [
  z.object({
    kind: z.literal("viewer"),
    sub: z.uuid(),
    sid: z.uuid(),
    did: z.uuid(),
    client_id: z.string(),
    acr: z.string(),
    amr: z.array(z.string()),
    auth_time: z.number().int(),
    step_up: z.number().int().positive().optional(),
    ...RequestContext.shape,
  }),
  z.object({ kind: z.literal("anonymous"), ...RequestContext.shape }),
  z.object({ kind: z.literal("application"), client_id: z.string() }),
  z.object({ kind: z.literal("service"), sub: z.string() }),
]);

export interface IdentitySigner {
  /** A statement about the caller, valid for at least 30 s from now. */
  sign(caller: Caller): Promise<string>;
}

export interface IdentityVerifier {
  /** Who is calling. Throws AppError UNAUTHENTICATED, INTERNAL_IDENTITY_REQUIRED for anything not signed by the gateway. */
  verify(statement: string | undefined): Promise<Caller>;
}

/** Signs with the gateway's private Ed25519 key. */
export function createIdentitySigner(privateJwk: Jwk): IdentitySigner {
  const signer = createJwtSigner(privateJwk);
  // The same clock that checks `exp`.
  const recent = new LRUCache<string, string>({ max: 50_000, ttl: REUSE_MS, perf: Date });

  function signNew(caller: Caller): string {
    const iat = Math.floor(Date.now() / 1_000);
    return signer.sign(TYPE, { ...toClaims(caller), iss: ISSUER, aud: AUDIENCE, iat, exp: iat + LIFE_SECONDS });
  }

  return {
    async sign(caller) {
      const id = JSON.stringify(caller);
      const statement = recent.get(id) ?? signNew(caller);
      if (!recent.has(id)) recent.set(id, statement);
      return statement;
    },
  };
}

/** Verifies with the gateway's public key. A statement seen before is not verified again until it expires. */
export function createIdentityVerifier(publicJwk: Jwk): IdentityVerifier {
  const key = importJWK(publicJwk, "Ed25519");
  const verified = createVerifiedCache<{ caller: Caller; exp: number }>(50_000);

  return {
    async verify(statement) {
      if (statement === undefined) throw refused();
      const now = Date.now() / 1_000;
      const known = verified.get(statement);
      if (known && known.exp > now) return known.caller;
      try {
        const { payload } = await jwtVerify(statement, await key, {
          issuer: ISSUER,
          audience: AUDIENCE,
          typ: TYPE,
          algorithms: ["Ed25519"],
          requiredClaims: ["exp"],
        });
        const caller = fromClaims(Claims.parse(payload));
        verified.set(statement, { caller, exp: payload.exp ?? 0 }, now);
        return caller;
      } catch (cause) {
        throw refused(cause);
      }
    },
  };
}

function refused(cause?: unknown): AppError {
  return new AppError("UNAUTHENTICATED", "INTERNAL_IDENTITY_REQUIRED", "Only the gateway may call this service.", {
    cause,
  });
}

function toClaims(caller: Caller): z.infer<typeof Claims> & { sub?: string } {
  switch (caller.kind) {
    case "viewer": {
      const { userId, sessionId, deviceId, applicationId, acr, amr, authTime, stepUpSeconds } = caller.viewer;
      return {
        kind: "viewer",
        sub: userId,
        sid: sessionId,
        did: deviceId,
        client_id: applicationId,
        acr,
        amr: [...amr],
        auth_time: authTime,
        ...(stepUpSeconds !== undefined && { step_up: stepUpSeconds }),
        ...toCircumstances(caller),
      };
    }
    case "application":
      return { kind: "application", client_id: caller.applicationId };
    case "service":
      return { kind: "service", sub: caller.name };
    case "anonymous":
      return { kind: "anonymous", ...toCircumstances(caller) };
  }
}

function toCircumstances(caller: Caller): z.infer<typeof RequestContext> {
  const { jkt, ipPrefix } = requestContextOf(caller);
  return { ...(jkt !== undefined && { jkt }), ...(ipPrefix !== undefined && { ip_prefix: ipPrefix }) };
}

function fromClaims(claims: z.infer<typeof Claims>): Caller {
  switch (claims.kind) {
    case "viewer":
      return { kind: "viewer", viewer: viewerOf(claims), ...fromCircumstances(claims) };
    case "application":
      return { kind: "application", applicationId: claims.client_id };
    case "service":
      return { kind: "service", name: claims.sub };
    case "anonymous":
      return { kind: "anonymous", ...fromCircumstances(claims) };
  }
}

function fromCircumstances({ jkt, ip_prefix }: z.infer<typeof RequestContext>): { jkt?: string; ipPrefix?: string } {
  return { ...(jkt !== undefined && { jkt }), ...(ip_prefix !== undefined && { ipPrefix: ip_prefix }) };
}
