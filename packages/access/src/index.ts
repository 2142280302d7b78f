export { AccessTokenClaims, createAccessTokenVerifier, Posture, type AccessTokenVerifier } from "./access-token.ts";
export { Acr, ACR_ORDER, acrSuffices } from "./acr.ts";
export { requestContextOf, viewerOf, type Caller, type Viewer } from "./caller.ts";
export {
  createDpopVerifier,
  DPOP_CLOCK_SECONDS,
  nonceRequired,
  proofInvalid,
  type DpopCheck,
  type DpopProof,
  type DpopVerifier,
  type ProvenRequest,
} from "./dpop-verifier.ts";
export {
  createGrantSigner,
  createGrantVerifier,
  GRANT_LIFE_SECONDS,
  GrantClaims,
  type GrantSigner,
  type GrantVerifier,
} from "./grant.ts";
export {
  createIdentitySigner,
  createIdentityVerifier,
  IDENTITY_HEADER,
  REQUEST_ID_HEADER,
  type IdentitySigner,
  type IdentityVerifier,
} from "./internal-identity.ts";
export { createJwtSigner, type JwtSigner } from "./jwt-signer.ts";
export { generateKey, type Jwk } from "./keys.ts";
export { fitsJwk, isPrivateJwk, jwkThumbprint, PublicJwk, SIGNATURE_ALGORITHMS } from "./public-jwk.ts";
