/** An operation compiled to functions: its plan and the shape of its answer. */
import type { PlanNode } from "@apollo/query-planner";
import { compileVariables } from "@continuo/variables";
import {
  type DocumentNode,
  type ExecutionResult,
  type FragmentDefinitionNode,
  type GraphQLError,
  type GraphQLSchema,
  Kind,
  type OperationDefinitionNode,
} from "graphql";
import type { GatewayContext } from "../context.ts";
import { UNEXPECTED } from "../subgraph/subgraph-error.ts";
import { type Conditions, conditionsOf } from "./conditions.ts";
import type { Data } from "./data.ts";
import { type Execution, toGraphQLError } from "./fetch.ts";
import { compilePlan, type PlanScope } from "./plan.ts";
import { compileShape, type Shape } from "./shape.ts";

/** The inputs of one run: the context, and the variables as the client sent them. */
export type Run = Pick<Execution, "variables" | "context">;

/** An answer; whatever could not be fetched is null, with an error. */
export type Answer = ExecutionResult<Record<string, unknown>, Record<string, unknown>>;

/** The data and errors to start from: nothing, or a subscription's event. The operation takes ownership of the data. */
export interface Start {
  readonly data: Data;
  readonly errors: readonly GraphQLError[];
}

export interface Operation {
  /** Returns the errors in the variables. */
  check(variables: Readonly<Data>): readonly GraphQLError[];
  /** Fetches and shapes the answer. Throws GraphQLError if a condition's variable is null. */
  run(run: Run, start?: Start): Promise<Answer>;
}

/** The most combinations of conditions whose shapes are kept; a client may send any number. */
const SHAPES = 32;

/** Compiles a valid operation. Throws if its plan is not supported. */
export function compileOperation(
  source: { document: DocumentNode; operation: OperationDefinitionNode; plan: PlanNode | undefined },
  scope: Omit<PlanScope, "conditions"> & { readonly schema: GraphQLSchema },
): Operation {
  const { document, operation, plan } = source;
  const { schema } = scope;
  const { variableDefinitions = [] } = operation;
  const conditions = conditionsOf(document, operation);
  const complete = compilePlan(plan, { ...scope, conditions });
  const shapeFor = compileShapes(schema, document, operation, conditions);
  const readVariables = compileVariables(schema, variableDefinitions);

  return {
    check(variables) {
      return readVariables(variables).errors ?? [];
    },
    async run({ variables, context }, { data, errors: known } = { data: {}, errors: [] }) {
      const shape = shapeFor(variables);
      const errors = [...known];
      await complete({ variables, context, errors }, [{ object: data, path: undefined }]);
      return shaped(shape(data, variables), errors, context);
    },
  };
}

/**
 * A violation of the schema either follows from an error already in the answer, or is a subgraph's bug: logged here and
 * masked.
 */
function shaped(
  { data, faults }: ReturnType<Shape>,
  errors: readonly GraphQLError[],
  { logger }: GatewayContext,
): Answer {
  if (errors.length > 0) return { data, errors };
  if (faults.length === 0) return { data };
  logger.error({ faults }, "a subgraph broke its schema");
  return { data, errors: faults.map(({ path }) => toGraphQLError(UNEXPECTED, path)) };
}

/** Compiles a shape per combination of conditions, so that shapes themselves have no conditions. */
function compileShapes(
  schema: GraphQLSchema,
  document: DocumentNode,
  operation: OperationDefinitionNode,
  { names, value }: Conditions,
): (variables: Readonly<Data>) => Shape {
  const fragments = new Map<string, FragmentDefinitionNode>();
  for (const definition of document.definitions)
    if (definition.kind === Kind.FRAGMENT_DEFINITION) fragments.set(definition.name.value, definition);
  const shapes = new Map<string, Shape>();
  return (variables) => {
    const met = names.filter((name) => value(name, variables));
    const key = met.join(" ");
    const known = shapes.get(key);
    if (known) return known;
    const shape = compileShape({ schema, operation, fragments, holds: (name) => met.includes(name) });
    if (shapes.size === SHAPES) shapes.clear();
    shapes.set(key, shape);
    return shape;
  };
}
