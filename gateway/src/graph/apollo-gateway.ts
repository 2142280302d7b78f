/** The live graph in the form in which ApolloServer takes it. */
import type { ApolloServerOptionsWithGateway } from "@apollo/server";
import type { GatewayContext } from "../context.ts";
import type { Graph, LiveGraph } from "./graph.ts";

/** A request is answered by the graph that it was validated against, also when another has come since. */
export function toApolloGateway(live: LiveGraph): ApolloServerOptionsWithGateway<GatewayContext>["gateway"] {
  return {
    onSchemaLoadOrUpdate(callback) {
      const tell = ({ schema, supergraphSdl }: Graph): void =>
        callback({ apiSchema: schema, coreSupergraphSdl: supergraphSdl });
      tell(live.current());
      return live.onReplace(tell);
    },
    async load() {
      return {
        executor: ({ schema, document, operationName, request, context }) =>
          live.of(schema).answer(document, operationName ?? undefined, request.variables ?? {}, asOurs(context)),
      };
    },
    stop: async () => undefined,
  };
}

/** ApolloServer hands on the context that it was given, and types it as any record. */
function asOurs(context: Record<string, unknown>): GatewayContext {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  return context as unknown as GatewayContext;
}
