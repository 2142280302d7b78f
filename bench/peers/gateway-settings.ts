/**
 * What the other gateways, and the floor of hops, are told; and what each does for a request as ours does: the caller's
 * token verified once, and to the subgraphs a signed statement about the caller and the id of the request.
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
  /** Composed; the addresses in it are nobody's. */
  supergraph: z.string(),
  /** The GraphQL endpoint of each subgraph, and its own part of the graph, by its name in the supergraph. */
  subgraphs: z.record(z.string(), z.object({ url: z.string(), api: z.string() })),
  /** The JWK Set of the access tokens that callers bring. */
  keySet: z.object({ keys: z.array(Jwk) }),
  token: z.object({ issuer: z.string(), audience: z.string() }),
  /** Whoever signs with it is the gateway, for the subgraphs. */
  gatewayKey: Jwk,
});
export type GatewaySettings = z.infer<typeof GatewaySettings>;

/** The headers that go to the subgraphs for a request with that Authorization header. Rejects for a bad token. */
export type SubgraphHeaders = (authorization: string | undefined) => Promise<Record<string, string>>;

/** By the code of ours, with its caches; nobody asks whether the session was ended. */
export function openSubgraphHeaders({ keySet, token, gatewayKey }: GatewaySettings): SubgraphHeaders {
  const verifier = createAccessTokenVerifier({ ...token, keys: createLocalJWKSet(keySet) });
  const signer = createIdentitySigner(gatewayKey);
  return async (authorization = "") => {
    const claims = await verifier.verify(authorization.replace(/^Bearer /, ""));
    const statement = await signer.sign({ kind: "viewer", viewer: viewerOf(claims) });
    return { [IDENTITY_HEADER]: statement, [REQUEST_ID_HEADER]: randomUUID() };
  };
}
