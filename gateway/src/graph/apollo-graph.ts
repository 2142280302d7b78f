/** The graph by Apollo's query planner and our own executor of its plans, in the form in which ApolloServer takes it. */
import { createAccessPolicy } from "../access-policy/access-policy.ts";
import type { GatewayContext } from "../context.ts";
import { createExecutor } from "../plan/executor.ts";
import { createDataSource } from "../subgraph/data-source.ts";
import type { SubgraphClient } from "../subgraph/subgraph-client.ts";
import type { Graph } from "./graph.ts";
import { createPlanner } from "./planner.ts";

/** The graph of `supergraphSdl`, over one client per subgraph in it. Throws when a subgraph has no client. */
export function createApolloGraph(options: {
  supergraphSdl: string;
  clients: ReadonlyMap<string, SubgraphClient>;
}): Graph {
  const { supergraphSdl, clients } = options;
  const planner = createPlanner(supergraphSdl);
  const { schema, supergraph, declarations } = planner;
  const sources = new Map(
    planner.subgraphs.map((name) => {
      const client = clients.get(name);
      if (!client) throw new Error(`the supergraph has a subgraph "${name}", and nothing says where it is`);
      return [name, createDataSource(client)];
    }),
  );
  const executor = createExecutor({ schema, supergraph, sources, plan: planner.plan });

  return {
    schema,
    access: createAccessPolicy({ schema, declarations }),
    planSubscription: (document, name) => executor.planSubscription(document, name),
    gateway: {
      onSchemaLoadOrUpdate(callback) {
        callback({ apiSchema: schema, coreSupergraphSdl: supergraphSdl });
        return () => undefined;
      },
      async load() {
        return {
          executor: ({ document, operationName, request, context }) =>
            executor.answer(document, operationName ?? undefined, request.variables ?? {}, asOurs(context)),
        };
      },
      stop: async () => undefined,
    },
  };
}

/** ApolloServer hands on the context that it was given, and types it as any record. */
function asOurs(context: Record<string, unknown>): GatewayContext {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  return context as unknown as GatewayContext;
}
