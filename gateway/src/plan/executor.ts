/** Runs operations by their query plans. Each is compiled once per document and reused for every request. */
import type { PlanNode, SubscriptionNode } from "@apollo/query-planner";
import {
  type DocumentNode,
  getOperationAST,
  GraphQLError,
  type GraphQLSchema,
  type OperationDefinitionNode,
  OperationTypeNode,
} from "graphql";
import type { GatewayContext } from "../context.ts";
import { asFault, requestFault } from "../errors.ts";
import type { SourceEvent, SubscriptionPlan } from "../graph/graph.ts";
import type { DataSource } from "../subgraph/data-source.ts";
import { copy, type Data } from "./data.ts";
import { toGraphQLError } from "./fetch.ts";
import { type Answer, compileOperation, type Operation } from "./operation.ts";
import { type KnownOperation, perDocument } from "./per-document.ts";
import { compileRewrites } from "./rewrite.ts";

/** The name of an operation within a valid document; undefined for its only one. */
type Name = string | undefined;

export interface Executor {
  /**
   * Answers a query or a mutation; without data if the variables are invalid. Throws GraphQLError if it cannot be
   * planned.
   */
  answer(document: DocumentNode, name: Name, variables: Readonly<Data>, context: GatewayContext): Promise<Answer>;
  /** Plans a subscription. Throws GraphQLError if it cannot be planned. */
  planSubscription(document: DocumentNode, name: Name): SubscriptionPlan;
  /**
   * Does in advance what the first `answer` or `planSubscription` would. Throws GraphQLError if it cannot be planned.
   */
  prepare(document: DocumentNode, name: Name): void;
  /** The prepared operations, most recently used first. */
  known(): readonly KnownOperation[];
}

/** `schema` is the API schema, `supergraph` everything that plans use; there is a source for each subgraph. */
export function createExecutor(scope: {
  schema: GraphQLSchema;
  supergraph: GraphQLSchema;
  sources: ReadonlyMap<string, DataSource>;
  plan: (document: DocumentNode, name: Name) => PlanNode | SubscriptionNode | undefined;
}): Executor {
  const prepared = perDocument((document, name): Operation | SubscriptionPlan => {
    const operation = getOperationAST(document, name);
    if (!operation) throw requestFault("OPERATION_UNKNOWN", "The document has no such operation.");
    const plan = scope.plan(document, name);
    if (plan?.kind === "Subscription") return subscriptionOf(document, operation, plan);
    if (operation.operation === OperationTypeNode.SUBSCRIPTION)
      throw new GraphQLError("This subscription cannot be planned.");
    return compileOperation({ document, operation, plan }, scope);
  });

  /** Naming a document's only operation makes no difference. */
  const prepare = (document: DocumentNode, name: Name): Operation | SubscriptionPlan =>
    prepared(document, name ?? getOperationAST(document)?.name?.value);

  function subscriptionOf(
    document: DocumentNode,
    operation: OperationDefinitionNode,
    { primary, rest }: SubscriptionNode,
  ): SubscriptionPlan {
    const rewrite = compileRewrites(primary.outputRewrites, scope.supergraph);
    const completed = compileOperation({ document, operation, plan: rest }, scope);
    const start = ({ data, errors }: SourceEvent): Parameters<typeof completed.run>[1] => {
      // Other streams may hold the event too.
      const own = rest || rewrite ? copy(data) : data;
      rewrite?.(own);
      return { data: own, errors: errors.map((error) => toGraphQLError(error, error.path)) };
    };
    return {
      source: { subgraph: primary.serviceName, operation: primary.operation, operationName: primary.operationName },
      asksOthers: rest !== undefined,
      complete: (event, variables, context) => completed.run({ variables, context }, start(event)),
    };
  }

  return {
    async answer(document, name, variables, context) {
      const operation = prepare(document, name);
      if ("source" in operation) throw requestFault("OPERATION_UNKNOWN", "The document has no such query or mutation.");
      const errors = operation.check(variables);
      if (errors.length > 0) return { errors: errors.map((error) => asFault("VARIABLES_INVALID", error)) };
      return operation.run({ variables, context });
    },
    planSubscription(document, name) {
      const subscription = prepare(document, name);
      if ("source" in subscription) return subscription;
      throw new GraphQLError("This subscription cannot be planned.");
    },
    prepare: (document, name) => void prepare(document, name),
    known: () => prepared.known(),
  };
}
