/** A `Graph` built from Apollo's query planner and our own executor for its plans. */
import { assertValidSchema } from "graphql";
import { createHash } from "node:crypto";
import { createAccessPolicy } from "../access-policy/access-policy.ts";
import { createCosts } from "../limits/cost.ts";
import { createExecutor } from "../plan/executor.ts";
import { createDataSource } from "../subgraph/data-source.ts";
import type { SubgraphClient } from "../subgraph/subgraph-client.ts";
import { readSources } from "../subscription/sources.ts";
import type { Graph } from "./graph.ts";
import { createPlanner } from "./planner.ts";

/**
 * Builds the graph of `supergraphSdl` over one client per subgraph. Throws when the SDL is not a supergraph, requires a
 * feature that the planner does not know, or has a subgraph without a client. Takes a few tenths of a second.
 */
export function createApolloGraph(options: {
  supergraphSdl: string;
  clients: ReadonlyMap<string, SubgraphClient>;
  /** The assumed length of lists for which neither the graph nor the arguments give one. */
  listSize: number;
}): Graph {
  const { supergraphSdl, clients, listSize } = options;
  const planner = createPlanner(supergraphSdl);
  const { schema, supergraph, declarations, weights } = planner;
  assertValidSchema(schema);
  const sources = new Map(
    planner.subgraphs.map((name) => {
      const client = clients.get(name);
      if (!client) throw new Error(`the supergraph has a subgraph "${name}", and nothing says where it is`);
      return [name, createDataSource(client)];
    }),
  );
  return {
    supergraphSdl,
    hash: hashOf(supergraphSdl),
    schema,
    access: createAccessPolicy({ schema, declarations }),
    sources: readSources(supergraphSdl),
    costs: createCosts({ schema, weights, listSize }),
    ...createExecutor({ schema, supergraph, sources, plan: planner.plan }),
  };
}

/** Identifies a supergraph: the SHA-256 of its text, in hexadecimal. */
export function hashOf(supergraphSdl: string): string {
  return createHash("sha256").update(supergraphSdl).digest("hex");
}
