/**
 * Authenticates callers: checks the access token and its DPoP proof once, on arrival, against signatures, revocations
 * and the replay cache. The subgraphs decide what a caller may do.
 */
import { viewerOf, type AccessTokenClaims, type AccessTokenVerifier, type Caller } from "@continuo/access";
import { AppError } from "@continuo/errors";
import type { Proof, Proofs } from "./dpop/proofs.ts";
import { ipPrefixOf } from "./rate-limit/network.ts";
import type { RateLimits } from "./rate-limit/rate-limits.ts";
import { REMEMBER_MS } from "./revocation/revocation-set.ts";
import type { Standing } from "./revocation/standing.ts";
import type { Tickets } from "./ticket/tickets.ts";

/** A caller, the claims that identify it, and the DPoP proof of the request. */
export type Admission =
  | {
      readonly caller: Extract<Caller, { kind: "viewer" }>;
      readonly claims: AccessTokenClaims;
      readonly proof?: Proof | undefined;
    }
  | {
      readonly caller: Extract<Caller, { kind: "anonymous" }>;
      readonly claims?: undefined;
      readonly proof?: Proof | undefined;
    };

/** The admission of a signed-in caller. */
export type ViewerAdmission = Extract<Admission, { claims: object }>;

/** The caller, with the network the request came from. */
export function withNetwork<Kind extends Admission["caller"]>(caller: Kind, network: string | undefined): Kind {
  const ipPrefix = ipPrefixOf(network);
  return ipPrefix === undefined ? caller : { ...caller, ipPrefix };
}

/** The DPoP proof of an HTTP request, and what it must match. */
export interface ProofOffered {
  readonly method: string;
  /** Without origin and query. */
  readonly path: string;
  /** The value of the DPoP header. */
  readonly proof: string;
  /** The sender's network; undefined for this machine. */
  readonly network: string | undefined;
}

export interface Admissions {
  /**
   * Authenticates by an Authorization header. Without one the caller is anonymous; a token must be valid, and one bound
   * to a key must come under the DPoP scheme with a proof by that key (RFC 9449 section 7). A proof without a token
   * counts as an operation of its network before it is checked and remembered, because anybody can make any number of
   * keys. Throws UNAUTHENTICATED: TOKEN_INVALID, TOKEN_EXPIRED, TOKEN_REPLACED, SESSION_ENDED (details.endReason),
   * DPOP_REQUIRED, and as `Proofs.check` and `RateLimits.operation` do; UNAVAILABLE: KEYS_UNAVAILABLE,
   * REVOCATION_UNKNOWN, REPLAY_UNKNOWN.
   */
  admit(authorization: string | undefined, offered?: ProofOffered): Promise<Admission>;
  /** Redeems a ticket. Throws as `Tickets.redeem` does, and as `admit` does for a session that has ended. */
  redeem(ticket: string): Promise<ViewerAdmission>;
}

/** RFC 6750 section 2.1 and RFC 9449 section 7.1; the scheme is case-insensitive (RFC 9110 section 11.1). */
const AUTHORIZATION = /^(Bearer|DPoP) +([\w.~+/-]+=*)$/i;

/** Wires the admissions. `now` is wall-clock milliseconds. */
export function createAdmissions(options: {
  verifier: Pick<AccessTokenVerifier, "verify">;
  proofs: Proofs;
  tickets: Pick<Tickets, "redeem">;
  standing: Standing;
  rates: Pick<RateLimits, "operation">;
  now?: () => number;
}): Admissions {
  const { verifier, proofs, tickets, standing, rates, now = Date.now } = options;
  /**
   * Admissions of bearer tokens, by the claims object that the verifier caches: many operations and sockets use the
   * same token.
   */
  const bearers = new WeakMap<AccessTokenClaims, ViewerAdmission>();

  async function admitAnonymous(offered: ProofOffered | undefined): Promise<Admission> {
    if (!offered) return { caller: { kind: "anonymous" } };
    await rates.operation({ network: offered.network });
    const proof = await proofs.check({ ...offered, nonceRequired: false });
    return { caller: { kind: "anonymous", jkt: proof.jkt }, proof };
  }

  return {
    async redeem(ticket) {
      const claims = await tickets.redeem(ticket);
      await standing.assertToken(claims);
      const jkt = claims.cnf?.jkt;
      return { caller: { kind: "viewer", viewer: viewerOf(claims), ...(jkt !== undefined && { jkt }) }, claims };
    },

    async admit(authorization, offered) {
      if (authorization === undefined) return admitAnonymous(offered);
      const [, scheme = "", token = ""] = AUTHORIZATION.exec(authorization) ?? [];
      if (token === "") throw invalid("Authorization must be a bearer token, or a DPoP token with its proof.");
      const claims = await verifier.verify(token);
      // Revocations are remembered for REMEMBER_MS, so a token valid for longer would outlive its own revocation. The
      // limit is above the longest token life, because the issuer's clock may be a little ahead of ours.
      if (claims.exp * 1000 - now() > REMEMBER_MS) throw invalid("The access token is not valid.");
      const jkt = claims.cnf?.jkt;
      const isDpop = scheme.toLowerCase() === "dpop";
      if (jkt === undefined && isDpop) throw invalid("The access token is bound to no key: it is a bearer token.");
      if (jkt !== undefined && !(isDpop && offered)) throw proofMissing();
      // Checked as a read; once the operation has been parsed, a mutation is checked again as a change.
      await standing.assertToken(claims);
      const bearer = bearers.get(claims) ?? { caller: { kind: "viewer", viewer: viewerOf(claims) }, claims };
      bearers.set(claims, bearer);
      if (!offered) return bearer;
      const { viewer } = bearer.caller;
      // Checked before the operation is counted, so that a stolen token alone cannot use up its owner's rate limit. The
      // proof is spent even if the limit then refuses the operation; otherwise a captured one could be sent once the
      // limit allows it. Each request has its own proof (RFC 9449 section 4.2), so honest clients lose nothing; a flood
      // leaves one entry for each signature that we verify.
      const proof = await proofs.check({ ...offered, accessToken: { value: token, jkt }, nonceRequired: false });
      return { caller: { kind: "viewer", viewer, jkt: proof.jkt }, claims, proof };
    },
  };
}

function proofMissing(): AppError {
  const message = "The access token is bound to a key: send it under the DPoP scheme, with a proof by that key.";
  return new AppError("UNAUTHENTICATED", "DPOP_REQUIRED", message);
}

function invalid(message: string): AppError {
  return new AppError("UNAUTHENTICATED", "TOKEN_INVALID", message);
}
