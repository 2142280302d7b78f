/**
 * The federated graph as the rest of the gateway sees it. Behind this stands Apollo's query planner, which is under the
 * Elastic License 2.0: another one replaces `planner.ts`, and `plan/` runs its plans as long as they have the same nodes.
 */
import type { ApolloServerOptionsWithGateway } from "@apollo/server";
import type { DocumentNode, ExecutionResult, GraphQLSchema } from "graphql";
import type { AccessPolicy } from "../access-policy/access-policy.ts";
import type { GatewayContext } from "../context.ts";
import type { SubgraphError } from "../subgraph/subgraph-error.ts";

/** What the owner of a subscription's field answered: one event, not yet completed by the other subgraphs. */
export interface SourceEvent {
  readonly data: Record<string, unknown>;
  readonly errors: readonly SubgraphError[];
}

/** How a subscription is answered: where its events come from, and what completes them. */
export interface SubscriptionPlan {
  readonly source: {
    readonly subgraph: string;
    /** The subscription that the subgraph's schema describes, as text. */
    readonly operation: string;
    readonly operationName: string | undefined;
  };
  /** Fetches the rest from the other subgraphs. Does not change `event`. */
  complete(
    event: SourceEvent,
    variables: Readonly<Record<string, unknown>>,
    context: GatewayContext,
  ): Promise<ExecutionResult<Record<string, unknown>, Record<string, unknown>>>;
}

export interface Graph {
  /** What clients see. */
  readonly schema: GraphQLSchema;
  /** Who may run what of it. */
  readonly access: AccessPolicy;
  /** Answers queries and mutations, for ApolloServer. */
  readonly gateway: ApolloServerOptionsWithGateway<GatewayContext>["gateway"];
  /** Plans a valid subscription operation. Throws GraphQLError when it cannot be planned. */
  planSubscription(document: DocumentNode, operationName: string | undefined): SubscriptionPlan;
}
