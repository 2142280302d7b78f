/** @mercuriusjs/gateway on Fastify, set up as its documentation says, with compiled operations (`jit`). */
import mercuriusGateway from "@mercuriusjs/gateway";
import Fastify, { type FastifyRequest } from "fastify";
import type { MercuriusContext } from "mercurius";
import { serveParent } from "../child.ts";
import { toFederation1 } from "./federation-1.ts";
import { GatewaySettings, openSubgraphHeaders } from "./gateway-settings.ts";

declare module "mercurius" {
  interface MercuriusContext {
    subgraphHeaders: Record<string, string>;
  }
}

serveParent(async (given) => {
  const settings = GatewaySettings.parse(given);
  const headersFor = openSubgraphHeaders(settings);
  const server = Fastify();
  await server.register(mercuriusGateway.default, {
    path: "/graphql",
    jit: 1,
    context: async ({ headers }: FastifyRequest) => ({ subgraphHeaders: await headersFor(headers.authorization) }),
    gateway: {
      services: Object.entries(settings.subgraphs).map(([name, { url, api }]) => ({
        name,
        url,
        schema: toFederation1(api),
        mandatory: true,
        rewriteHeaders: (_headers: unknown, { subgraphHeaders }: MercuriusContext) => subgraphHeaders,
      })),
    },
  });
  const url = await server.listen({ host: "127.0.0.1", port: 0 });
  return { ready: `${url}/graphql`, [Symbol.asyncDispose]: () => server.close() };
});
