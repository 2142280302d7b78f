/** Turns a plan into functions, once: what runs for each request looks nothing up that the plan already says. */
import type { PlanNode } from "@apollo/query-planner";
import type { GraphQLSchema } from "graphql";
import type { DataSource } from "../subgraph/data-source.ts";
import type { Conditions } from "./conditions.ts";
import { compileFetch, type Step } from "./fetch.ts";
import { compilePath } from "./place.ts";

/** What plans are compiled against. */
export interface PlanScope {
  readonly sources: ReadonlyMap<string, DataSource>;
  /** With what clients do not see: representations may consist of it. */
  readonly supergraph: GraphQLSchema;
  readonly conditions: Conditions;
}

/** Throws on what is not supported: `@defer`, `@fromContext`, a subgraph without a source. */
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
