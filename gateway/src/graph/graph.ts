/**
 * The federated graph as the rest of the gateway sees it. Behind this stands Apollo's query planner, which is under the
 * Elastic License 2.0: another one replaces `planner.ts`, and `plan/` runs its plans as long as they have the same nodes.
 */
import type { DocumentNode, ExecutionResult, GraphQLSchema } from "graphql";
import type { AccessPolicy } from "../access-policy/access-policy.ts";
import type { GatewayContext } from "../context.ts";
import type { Costs } from "../limits/cost.ts";
import type { KnownOperation } from "../plan/per-document.ts";
import type { SubgraphError } from "../subgraph/subgraph-error.ts";
import type { Sources } from "../subscription/sources.ts";

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
  /** Whether other subgraphs are asked to complete an event. */
  readonly asksOthers: boolean;
  /** Fetches the rest from the other subgraphs. Does not change `event`. */
  complete(
    event: SourceEvent,
    variables: Readonly<Record<string, unknown>>,
    context: GatewayContext,
  ): Promise<ExecutionResult<Record<string, unknown>, Record<string, unknown>>>;
}

/** One supergraph, ready to answer. It never changes: another supergraph is another graph. */
export interface Graph {
  readonly supergraphSdl: string;
  /** SHA-256 of the supergraph's text, in hexadecimal. */
  readonly hash: string;
  /** What clients see. */
  readonly schema: GraphQLSchema;
  /** Who may run what of it. */
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
  /** Does for a valid operation what its first request would wait for. Throws GraphQLError when it cannot be planned. */
  prepare(document: DocumentNode, operationName: string | undefined): void;
  /** The operations that are ready, the one that was used last first. */
  known(): readonly KnownOperation[];
}

/** The graph that serves now. Another takes its place whole; whoever began on the former ends on it. */
export interface LiveGraph {
  current(): Graph;
  /** Makes `next` ready for the operations in use, then puts it in the place of the current one in one step. */
  replace(next: Graph): Promise<void>;
}
