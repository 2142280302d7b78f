/** ApolloGateway in ApolloServer, with default settings. */
import { ApolloGateway, RemoteGraphQLDataSource } from "@apollo/gateway";
import { ApolloServer } from "@apollo/server";
import { startStandaloneServer } from "@apollo/server/standalone";
import { serveParent } from "../child.ts";
import { GatewaySettings, openSubgraphHeaders } from "./gateway-settings.ts";
import { openSupergraph } from "./open-supergraph.ts";

interface Context {
  readonly subgraphHeaders: Readonly<Record<string, string>>;
}

serveParent(async (given) => {
  const settings = GatewaySettings.parse(given);
  const headersFor = openSubgraphHeaders(settings);
  const gateway = new ApolloGateway({
    supergraphSdl: openSupergraph(settings.supergraph),
    buildService: ({ name }) =>
      new RemoteGraphQLDataSource<Context>({
        url: settings.subgraphs[name]?.url ?? "",
        willSendRequest(options) {
          // Otherwise the request is the gateway's own.
          if (!("incomingRequestContext" in options)) return;
          for (const [name, value] of Object.entries(options.context.subgraphHeaders))
            options.request.http?.headers.set(name, value);
        },
      }),
  });
  const server = new ApolloServer<Context>({ gateway });
  const { url } = await startStandaloneServer(server, {
    listen: { host: "127.0.0.1", port: 0 },
    context: async ({ req }) => ({ subgraphHeaders: await headersFor(req.headers.authorization) }),
  });
  return { ready: url, [Symbol.asyncDispose]: () => server.stop() };
});
