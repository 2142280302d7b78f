/**
 * The maximum cost of an operation, by IBM's cost directives: an object costs one point, a list its element's cost
 * times the number of elements it may have. The estimate depends only on the document and the variables; a document is
 * compiled to a function once. Selections under `@skip` and `@include` count, and so does every type condition on a
 * union or an interface.
 */
import {
  type DocumentNode,
  type FieldNode,
  type FragmentDefinitionNode,
  getNamedType,
  getNullableType,
  getOperationAST,
  type GraphQLCompositeType,
  type GraphQLField,
  type GraphQLSchema,
  isCompositeType,
  isInterfaceType,
  isListType,
  isObjectType,
  type GraphQLOutputType,
  Kind,
  type OperationDefinitionNode,
  OperationTypeNode,
  type SelectionSetNode,
  type ValueNode,
} from "graphql";
import { listUnbounded } from "./limits.ts";
import { perDocument } from "../plan/per-document.ts";
import type { ListSize, Weights } from "./weights.ts";

type Variables = Readonly<Record<string, unknown>>;
/** Points: a number if no variable affects them. */
type Cost = number | ((variables: Variables) => number);

export interface Costs {
  /**
   * The cost of an operation of a valid document, in points; 0 if the document has no such operation. Throws
   * BAD_USER_INPUT/LIST_UNBOUNDED if a field requires a slicing argument and none has a number.
   */
  of(document: DocumentNode, operationName: string | undefined, variables: Variables): number;
}

/**
 * The cost of a mutation's root field, whose work its selections do not show. The default of Apollo's demand control.
 */
const MUTATION_COST = 10;
/** Arguments that size a list when the graph has no `@listSize` (Relay's connections). */
const SLICING_ARGUMENTS = ["first", "last"];

/** `listSize` is the assumed length of a list for which nothing else gives one. */
export function createCosts(options: { schema: GraphQLSchema; weights: Weights; listSize: number }): Costs {
  const { schema } = options;
  const compile = perDocument((document, operationName) => {
    const operation = getOperationAST(document, operationName);
    return operation ? compileOperation(document, operation) : 0;
  });

  function compileOperation(document: DocumentNode, operation: OperationDefinitionNode): Cost {
    const { costs, listSizes } = options.weights;
    const root = schema.getRootType(operation.operation);
    if (!root) return 0;
    const isMutation = operation.operation === OperationTypeNode.MUTATION;
    const rootCost = (parent: GraphQLCompositeType): number | undefined =>
      isMutation && parent === root ? MUTATION_COST : undefined;
    const fragments = new Map<string, FragmentDefinitionNode>();
    for (const definition of document.definitions)
      if (definition.kind === Kind.FRAGMENT_DEFINITION) fragments.set(definition.name.value, definition);
    const defaults = new Map(
      operation.variableDefinitions?.map(({ variable, defaultValue }) => [variable.name.value, defaultValue]),
    );

    /** `sizes` gives the sizes that the enclosing field determines for lists among these selections. */
    function ofSelections(set: SelectionSetNode, type: GraphQLCompositeType, sizes: Sizes): Cost {
      return sum(
        set.selections.map((selection) => {
          if (selection.kind === Kind.FIELD) return ofField(selection, type, sizes);
          const fragment = selection.kind === Kind.INLINE_FRAGMENT ? selection : fragments.get(selection.name.value);
          const condition = fragment?.typeCondition && schema.getType(fragment.typeCondition.name.value);
          return fragment
            ? ofSelections(fragment.selectionSet, isCompositeType(condition) ? condition : type, sizes)
            : 0;
        }),
      );
    }

    function ofField(node: FieldNode, parent: GraphQLCompositeType, sizes: Sizes): Cost {
      const field = isObjectType(parent) || isInterfaceType(parent) ? parent.getFields()[node.name.value] : undefined;
      // Introspection needs no subgraph.
      if (!field) return 0;
      const coordinate = `${parent.name}.${field.name}`;
      const said = listSizes.get(coordinate);
      const own = sizeOf(node, field, said);
      const type = getNamedType(field.type);
      const isList = depthOf(field.type) > 0;
      const below =
        node.selectionSet && isCompositeType(type)
          ? ofSelections(node.selectionSet, type, sizesFor(own, isList, said))
          : 0;
      const each = sum([
        costs.get(coordinate) ?? costs.get(type.name) ?? rootCost(parent) ?? (isCompositeType(type) ? 1 : 0),
        below,
      ]);
      const size = own ?? sizes(field.name) ?? options.listSize;
      return sum([
        isList ? times([each, size, options.listSize ** (depthOf(field.type) - 1)]) : each,
        ofArguments(node, coordinate),
      ]);
    }

    function ofArguments(node: FieldNode, coordinate: string): number {
      return (node.arguments ?? []).reduce(
        (all, { name }) => all + (costs.get(`${coordinate}(${name.value}:)`) ?? 0),
        0,
      );
    }

    /** The list size that a field's arguments determine; the largest one counts. */
    function sizeOf(
      node: FieldNode,
      field: GraphQLField<unknown, unknown>,
      said: ListSize | undefined,
    ): Cost | undefined {
      const names = said?.slicingArguments ?? (said?.assumedSize == null ? SLICING_ARGUMENTS : []);
      const given = names.flatMap((name): Given[] => {
        const definition = field.args.find((argument) => argument.name === name);
        const value = node.arguments?.find((argument) => argument.name.value === name)?.value;
        const byDefault = asSize(definition?.defaultValue);
        const size = value ? valueOf(value, byDefault) : byDefault;
        return size === undefined ? [] : [size];
      });
      const isRequired = said?.slicingArguments != null && said.requireOneSlicingArgument !== false;
      const otherwise = (): number | undefined => {
        if (isRequired) throw listUnbounded(field.name, names);
        return said?.assumedSize ?? undefined;
      };
      if (given.length === 0) return otherwise();
      const known = given.filter((size) => typeof size === "number");
      if (known.length === given.length) return Math.max(...known);
      return (variables) => {
        const sizes = given.flatMap((size) => (typeof size === "number" ? size : (size(variables) ?? [])));
        return sizes.length > 0 ? Math.max(...sizes) : (otherwise() ?? options.listSize);
      };
    }

    function valueOf(node: ValueNode, byDefault: number | undefined): Given | undefined {
      if (node.kind === Kind.INT) return asSize(Number(node.value));
      if (node.kind !== Kind.VARIABLE) return undefined;
      const name = node.name.value;
      const fallback = defaults.get(name);
      const unset = fallback?.kind === Kind.INT ? asSize(Number(fallback.value)) : byDefault;
      return (variables) => asSize(variables[name]) ?? unset;
    }

    return ofSelections(operation.selectionSet, root, () => undefined);
  }

  return {
    of(document, operationName, variables) {
      const cost = compile(document, operationName);
      return typeof cost === "number" ? cost : cost(variables);
    },
  };
}

/** The size given by one argument, or a function of the variables for it. */
type Given = number | ((variables: Variables) => number | undefined);

/** The size that the enclosing field determines for a list field of this name. */
type Sizes = (field: string) => Cost | undefined;

/**
 * `@listSize(sizedFields:)` names the lists that the field sizes; without `@listSize`, a field that is not a list
 * itself sizes every list directly in it.
 */
function sizesFor(size: Cost | undefined, isList: boolean, said: ListSize | undefined): Sizes {
  const named = said?.sizedFields;
  if (named) return (field) => (named.includes(field) ? size : undefined);
  return () => (isList || said ? undefined : size);
}

function depthOf(type: GraphQLOutputType): number {
  const nullable = getNullableType(type);
  return isListType(nullable) ? 1 + depthOf(nullable.ofType) : 0;
}

function asSize(value: unknown): number | undefined {
  return typeof value === "number" && Number.isFinite(value) ? Math.max(0, value) : undefined;
}

const combine =
  (start: number, step: (one: number, other: number) => number) =>
  (costs: readonly Cost[]): Cost => {
    const known = costs.filter((cost) => typeof cost === "number").reduce(step, start);
    const open = costs.filter((cost) => typeof cost === "function");
    if (open.length === 0) return known;
    return (variables) => open.reduce((result, cost) => step(result, cost(variables)), known);
  };

// Costs are reported as JSON numbers; nested lists soon exceed the range of exact integers.
const sum = combine(0, (one, other) => Math.min(one + other, Number.MAX_SAFE_INTEGER));
const times = combine(1, (one, other) => Math.min(one * other, Number.MAX_SAFE_INTEGER));
