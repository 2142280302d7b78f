/** Compiles a plan into functions once, so that a request looks up nothing that the plan already determines. */
import type { PlanNode } from "@apollo/query-planner";
import type { GraphQLSchema } from "graphql";
import type { DataSource } from "../subgraph/data-source.ts";
import type { Conditions } from "./conditions.ts";
import { compileFetch, type Step } from "./fetch.ts";
import { compilePath } from "./place.ts";

/** What plans are compiled against. */
export interface PlanScope {
  readonly sources: ReadonlyMap<string, DataSource>;
  /** The whole supergraph schema: representations may use elements hidden from clients. */
  readonly supergraph: GraphQLSchema;
  readonly conditions: Conditions;
}

/** Compiles a plan. Throws on what is not supported: `@defer`, `@fromContext`, a subgraph without a source. */
export function compilePlan(node: PlanNode | undefined, scope: PlanScope): Step {
  if (!node) return async () => undefined;
  switch (node.kind) {
    case "Fetch":
      return compileFetch(node, scope.sources, scope.supergraph);
    case "Sequence": {
      const steps = node.nodes.map((child) => compilePlan(child, scope));
      return async (execution, places) => {
        for (const step of steps) await step(execution, places);
      };
    }
    case "Parallel": {
      const steps = node.nodes.map((child) => compilePlan(child, scope));
      return async (execution, places) => {
        await Promise.all(steps.map((step) => step(execution, places)));
      };
    }
    case "Flatten": {
      const follow = compilePath(node.path, scope.supergraph);
      const step = compilePlan(node.node, scope);
      return (execution, places) => step(execution, follow(places));
    }
    case "Condition": {
      const whenTrue = compilePlan(node.ifClause, scope);
      const whenFalse = compilePlan(node.elseClause, scope);
      return (execution, places) =>
        (scope.conditions.value(node.condition, execution.variables) ? whenTrue : whenFalse)(execution, places);
    }
    case "Defer":
      throw new Error("a plan uses @defer, which is not supported");
  }
}
