/**
 * Settings of the other gateways and of the hop floor; and what each does for a request as ours does: verify the
 * caller's token once, and send the subgraphs a signed statement about the caller and the request id.
 */
import { randomUUID } from "node:crypto";
import { createLocalJWKSet } from "jose";
import { z } from "zod";
import {
  createAccessTokenVerifier,
  createIdentitySigner,
  IDENTITY_HEADER,
  REQUEST_ID_HEADER,
  viewerOf,
} from "../../packages/access/src/index.ts";

const Jwk = z.looseObject({ kty: z.string(), kid: z.string() });

export const GatewaySettings = z.object({
  /** The composed supergraph; the URLs in it are placeholders. */
  supergraph: z.string(),
  /** By name in the supergraph: the GraphQL endpoint of each subgraph, and its own part of the graph. */
  subgraphs: z.record(z.string(), z.object({ url: z.string(), api: z.string() })),
  /** The JWK Set that verifies callers' access tokens. */
  keySet: z.object({ keys: z.array(Jwk) }),
  token: z.object({ issuer: z.string(), audience: z.string() }),
  /** Signs the statements that subgraphs accept as the gateway's. */
  gatewayKey: Jwk,
});
export type GatewaySettings = z.infer<typeof GatewaySettings>;

/** The headers for the subgraphs, for a request with that Authorization header. Rejects for an invalid token. */
export type SubgraphHeaders = (authorization: string | undefined) => Promise<Record<string, string>>;

/** Uses our own code, with its caches, but does not check whether the session has ended. */
export function openSubgraphHeaders({ keySet, token, gatewayKey }: GatewaySettings): SubgraphHeaders {
  const verifier = createAccessTokenVerifier({ ...token, keys: createLocalJWKSet(keySet) });
  const signer = createIdentitySigner(gatewayKey);
  return async (authorization = "") => {
    const claims = await verifier.verify(authorization.replace(/^Bearer /, ""));
    const statement = await signer.sign({ kind: "viewer", viewer: viewerOf(claims) });
    return { [IDENTITY_HEADER]: statement, [REQUEST_ID_HEADER]: randomUUID() };
  };
}
