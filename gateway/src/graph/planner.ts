/** Apollo's query planner over a supergraph: which subgraphs an operation needs, and in which order. */
import { operationFromDocument } from "@apollo/federation-internals";
import { type PlanNode, QueryPlanner, type SubscriptionNode } from "@apollo/query-planner";
import type { DocumentNode, GraphQLSchema } from "graphql";
import { type Declarations, readDeclarations } from "../access-policy/declarations.ts";
import { readWeights, type Weights } from "../limits/weights.ts";
import { readSupergraph } from "./supergraph.ts";

export interface Planner {
  /** The API schema, which clients see. */
  readonly schema: GraphQLSchema;
  /** The whole supergraph schema, including elements that only plans use. */
  readonly supergraph: GraphQLSchema;
  readonly subgraphs: readonly string[];
  /** The access that its fields demand. */
  readonly declarations: Declarations;
  /** The `@cost` and `@listSize` declarations. */
  readonly weights: Weights;
  /**
   * The plan of a valid operation; undefined when it needs no subgraph. Throws GraphQLError when it cannot be planned.
   */
  readonly plan: (document: DocumentNode, operationName: string | undefined) => PlanNode | SubscriptionNode | undefined;
}

/** Throws SupergraphError as `readSupergraph` and `readDeclarations` do. */
export function createPlanner(supergraphSdl: string): Planner {
  const supergraph = readSupergraph(supergraphSdl);
  const apiSchema = supergraph.apiSchema();
  const planner = new QueryPlanner(supergraph);
  return {
    schema: apiSchema.toGraphQLJSSchema(),
    supergraph: supergraph.schema.toGraphQLJSSchema(),
    subgraphs: supergraph.subgraphsMetadata().map(({ name }) => name),
    declarations: readDeclarations(supergraph),
    weights: readWeights(supergraph),
    plan(document, operationName) {
      const named = operationName === undefined ? {} : { operationName };
      return planner.buildQueryPlan(operationFromDocument(apiSchema, document, named)).node;
    },
  };
}
