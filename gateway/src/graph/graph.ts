/**
 * The federated graph as the rest of the gateway sees it. It is built on Apollo's query planner, which is under the
 * Elastic License 2.0; to use another planner, replace `planner.ts`: `plan/` runs its plans as long as they have the
 * same nodes.
 */
import type { DocumentNode, ExecutionResult, GraphQLSchema } from "graphql";
import type { AccessPolicy } from "../access-policy/access-policy.ts";
import type { GatewayContext } from "../context.ts";
import type { Costs } from "../limits/cost.ts";
import type { KnownOperation } from "../plan/per-document.ts";
import type { SubgraphError } from "../subgraph/subgraph-error.ts";
import type { Sources } from "../subscription/sources.ts";

/** The owner's answer for a subscription's field: one event, before the other subgraphs complete it. */
export interface SourceEvent {
  readonly data: Record<string, unknown>;
  readonly errors: readonly SubgraphError[];
}

/** How a subscription is answered: the source of its events, and the rest of the plan that completes each. */
export interface SubscriptionPlan {
  readonly source: {
    readonly subgraph: string;
    /** The subscription operation in terms of the subgraph's schema, as text. */
    readonly operation: string;
    readonly operationName: string | undefined;
  };
  /** Whether completing an event needs other subgraphs. */
  readonly asksOthers: boolean;
  /** Fetches the rest from the other subgraphs. Does not change `event`. */
  complete(
    event: SourceEvent,
    variables: Readonly<Record<string, unknown>>,
    context: GatewayContext,
  ): Promise<ExecutionResult<Record<string, unknown>, Record<string, unknown>>>;
}

/** One supergraph, ready to answer. Immutable: a new supergraph is a new `Graph`. */
export interface Graph {
  readonly supergraphSdl: string;
  /** SHA-256 of the supergraph's text, in hexadecimal. */
  readonly hash: string;
  /** The API schema, which clients see. */
  readonly schema: GraphQLSchema;
  /** Decides who may run which operation. */
  readonly access: AccessPolicy;
  readonly costs: Costs;
  /** Where the events of its subscriptions come from. */
  readonly sources: Sources;
  /** Answers a query or a mutation that is valid in `schema`. Throws GraphQLError when it cannot be planned. */
  answer(
    document: DocumentNode,
    operationName: string | undefined,
    variables: Readonly<Record<string, unknown>>,
    context: GatewayContext,
  ): Promise<ExecutionResult<Record<string, unknown>, Record<string, unknown>>>;
  /** Plans a valid subscription operation. Throws GraphQLError when it cannot be planned. */
  planSubscription(document: DocumentNode, operationName: string | undefined): SubscriptionPlan;
  /**
   * Does in advance what the first request for a valid operation would wait for. Throws GraphQLError when it cannot be
   * planned.
   */
  prepare(document: DocumentNode, operationName: string | undefined): void;
  /** The prepared operations, most recently used first. */
  known(): readonly KnownOperation[];
}

/**
 * Holds the graph that serves now. It is replaced as a whole; operations that began on the previous graph finish on it.
 */
export interface LiveGraph {
  current(): Graph;
  /** Prepares `next` for the operations in use, then makes it current in one step. */
  replace(next: Graph): Promise<void>;
}
