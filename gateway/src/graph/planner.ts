/** Apollo's query planner over a supergraph: which subgraphs an operation needs, and in which order. */
import { operationFromDocument, Supergraph } from "@apollo/federation-internals";
import { type PlanNode, QueryPlanner, type SubscriptionNode } from "@apollo/query-planner";
import type { DocumentNode, GraphQLSchema } from "graphql";

export interface Planner {
  /** What clients see. */
  readonly schema: GraphQLSchema;
  /** With what clients do not see: what only plans use. */
  readonly supergraph: GraphQLSchema;
  readonly subgraphs: readonly string[];
  /** The plan of a valid operation; undefined when no subgraph is needed. Throws GraphQLError when there is none. */
  readonly plan: (document: DocumentNode, operationName: string | undefined) => PlanNode | SubscriptionNode | undefined;
}

/** Throws when the supergraph needs what the planner does not know. */
export function createPlanner(supergraphSdl: string): Planner {
  const supergraph = Supergraph.build(supergraphSdl, { validateSupergraph: false });
  const apiSchema = supergraph.apiSchema();
  const planner = new QueryPlanner(supergraph);
  return {
    schema: apiSchema.toGraphQLJSSchema(),
    supergraph: supergraph.schema.toGraphQLJSSchema(),
    subgraphs: supergraph.subgraphsMetadata().map(({ name }) => name),
    plan(document, operationName) {
      const named = operationName === undefined ? {} : { operationName };
      return planner.buildQueryPlan(operationFromDocument(apiSchema, document, named)).node;
    },
  };
}
