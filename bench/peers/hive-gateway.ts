/** The runtime of @graphql-hive/gateway, with its query planner in Rust, behind node:http. */
import { once } from "node:events";
import { createServer } from "node:http";
import { createGatewayRuntime, type GatewayPlugin } from "@graphql-hive/gateway-runtime";
import { unifiedGraphHandler } from "@graphql-hive/router-runtime";
import { serveParent } from "../child.ts";
import { listen } from "../yardsticks/http.ts";
import { GatewaySettings, openSubgraphHeaders } from "./gateway-settings.ts";
import { openSupergraph } from "./open-supergraph.ts";

interface Context {
  readonly subgraphHeaders: Record<string, string>;
}

serveParent(async (given) => {
  const settings = GatewaySettings.parse(given);
  const headersFor = openSubgraphHeaders(settings);
  const knowsCaller: GatewayPlugin<Context> = {
    async onContextBuilding({ context, extendContext }) {
      const authorization = context.request.headers.get("authorization") ?? undefined;
      extendContext({ subgraphHeaders: await headersFor(authorization) });
    },
  };
  const gateway = createGatewayRuntime<Context>({
    supergraph: openSupergraph(settings.supergraph),
    unifiedGraphHandler,
    transportEntries: Object.fromEntries(
      Object.entries(settings.subgraphs).map(([name, { url }]) => [name, { location: url }]),
    ),
    plugins: () => [knowsCaller],
    propagateHeaders: { fromClientToSubgraphs: ({ context }) => context.subgraphHeaders },
    logging: "error",
  });
  const server = createServer(gateway);
  const url = await listen(server);
  return {
    ready: `${url}/graphql`,
    async [Symbol.asyncDispose]() {
      server.close();
      server.closeAllConnections();
      await once(server, "close");
      await gateway[Symbol.asyncDispose]();
    },
  };
});
