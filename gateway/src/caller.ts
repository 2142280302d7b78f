/**
 * Who is calling: the access token and the proof of its key checked once, at the door, against signatures, the
 * revocations and what was used before. What a caller may do is for the subgraphs to decide.
 */
import { viewerOf, type AccessTokenClaims, type AccessTokenVerifier, type Caller } from "@continuo/access";
import { AppError } from "@continuo/errors";
import type { Proof, Proofs } from "./dpop/proofs.ts";
import { ipPrefixOf } from "./rate-limit/network.ts";
import type { RateLimits } from "./rate-limit/rate-limits.ts";
import { REMEMBER_MS } from "./revocation/revocation-set.ts";
import type { Standing } from "./revocation/standing.ts";
import type { Tickets } from "./ticket/tickets.ts";

/** A caller, the claims that prove who it is, and the proof of a key that came along. */
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

/** Somebody who is signed in. */
export type ViewerAdmission = Extract<Admission, { claims: object }>;

/** The caller of a request from `network`. */
export function cameFrom<Kind extends Admission["caller"]>(caller: Kind, network: string | undefined): Kind {
  const ipPrefix = ipPrefixOf(network);
  return ipPrefix === undefined ? caller : { ...caller, ipPrefix };
}

/** What came with an HTTP request to prove that its sender holds a key. */
export interface ProofOffered {
  readonly method: string;
  /** Without origin and query. */
  readonly path: string;
  /** The value of the DPoP header. */
  readonly proof: string;
  /** Where it comes from; absent for this machine. */
  readonly network: string | undefined;
}

export interface Admissions {
  /**
   * Judges an Authorization header: none is anonymous, a presented token must be good, one that is bound to a key comes
   * under the DPoP scheme with a proof by that key (RFC 9449 section 7). A proof without a token is counted as an operation of
   * its network, before it is checked and remembered: anybody can make any number of keys.
   * Throws UNAUTHENTICATED: TOKEN_INVALID, TOKEN_EXPIRED, TOKEN_REPLACED, SESSION_ENDED (details.endReason), DPOP_REQUIRED, and as
   * `Proofs.check` and `RateLimits.operation` do; UNAVAILABLE: KEYS_UNAVAILABLE, REVOCATION_UNKNOWN, REPLAY_UNKNOWN.
   */
  admit(authorization: string | undefined, offered?: ProofOffered): Promise<Admission>;
  /** Redeems a ticket. Throws as `Tickets.redeem` does, and as `admit` for a session that does not stand. */
  redeem(ticket: string): Promise<ViewerAdmission>;
}

/** RFC 6750 section 2.1 and RFC 9449 section 7.1; the scheme is case-insensitive (RFC 9110 section 11.1). */
const AUTHORIZATION = /^(Bearer|DPoP) +([\w.~+/-]+=*)$/i;

/** Wires it. `now` is milliseconds of the wall clock. */
export function createAdmissions(options: {
  verifier: Pick<AccessTokenVerifier, "verify">;
  proofs: Proofs;
  tickets: Pick<Tickets, "redeem">;
  standing: Standing;
  rates: Pick<RateLimits, "operation">;
  now?: () => number;
}): Admissions {
  const { verifier, proofs, tickets, standing, rates, now = Date.now } = options;
  /** Of bearers, by the claims that the verifier remembers: many operations and sockets come with the same token. */
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
      // A token that lives longer than revocations are remembered would outlive its own. Not merely than the longest life:
      // whoever minted it may have a clock a little ahead of ours.
      if (claims.exp * 1000 - now() > REMEMBER_MS) throw invalid("The access token is not valid.");
      const jkt = claims.cnf?.jkt;
      const isDpop = scheme.toLowerCase() === "dpop";
      if (jkt === undefined && isDpop) throw invalid("The access token is bound to no key: it is a bearer token.");
      if (jkt !== undefined && !(isDpop && offered)) throw proofMissing();
      // Whether it is to change anything is known once the operation has been read: then it is asked again.
      await standing.assertToken(claims);
      const bearer = bearers.get(claims) ?? { caller: { kind: "viewer", viewer: viewerOf(claims) }, claims };
      bearers.set(claims, bearer);
      if (!offered) return bearer;
      const { viewer } = bearer.caller;
      // Before the operation is counted, or its owner's operations would be used up by whoever has the token alone; and used
      // up even where it is refused then, or who captured it could send it once the limit lets it. Each has a proof of its own
      // (RFC 9449 section 4.2), so nobody honest misses it; a flood leaves an entry for each signature that we check.
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
