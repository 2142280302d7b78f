/**
 * Shapes the subgraphs' data into the client's answer: the selected fields in order and under their aliases, without
 * fields that only the plan needed. Where a value is missing or violates the schema it is null, propagated up as the
 * schema demands.
 */
import {
  type DocumentNode,
  executeSync,
  type FieldNode,
  type FragmentDefinitionNode,
  type GraphQLCompositeType,
  type GraphQLLeafType,
  type GraphQLOutputType,
  type GraphQLSchema,
  isAbstractType,
  isCompositeType,
  isEnumType,
  isListType,
  isNonNullType,
  isObjectType,
  isSpecifiedScalarType,
  isUnionType,
  Kind,
  type OperationDefinitionNode,
  OperationTypeNode,
  type SelectionSetNode,
} from "graphql";
import { isRecord, MOST_ERRORS } from "../subgraph/subgraph-error.ts";
import { isSelected } from "./conditions.ts";
import { type Data, read, write } from "./data.ts";

/** A place where a subgraph broke its schema. */
export interface Fault {
  readonly path: readonly (string | number)[];
  readonly what: string;
}

/** Does not change `data`. The result is null if null propagates to the root. Reports the first faults only. */
export type Shape = (
  data: Readonly<Data>,
  variables: Readonly<Data>,
) => { data: Data | null; faults: readonly Fault[] };

interface Run {
  readonly variables: Readonly<Data>;
  /** The current path. */
  readonly path: (string | number)[];
  readonly faults: Fault[];
}

/** Null in a non-null position: null propagates to the parent. */
const INVALID = Symbol("invalid");

/** Completes a value that is not null; returns null if it does not match its type. */
type Complete = (value: unknown, run: Run) => unknown;
interface Field {
  readonly key: string;
  readonly complete: (parent: Readonly<Data>, run: Run) => unknown;
}

const SCALARS: Readonly<Record<string, (value: unknown) => boolean>> = {
  Int: isWhole,
  Float: (value) => Number.isFinite(value),
  String: (value) => typeof value === "string",
  Boolean: (value) => typeof value === "boolean",
  ID: (value) => typeof value === "string" || isWhole(value),
};

/** `schema` is the API schema; `holds` gives the value of a variable in `@skip` or `@include`. */
export function compileShape(options: {
  schema: GraphQLSchema;
  operation: OperationDefinitionNode;
  fragments: ReadonlyMap<string, FragmentDefinitionNode>;
  holds: (variable: string) => boolean;
}): Shape {
  const { schema, operation, fragments, holds } = options;
  const root = schema.getRootType(operation.operation);
  if (!root) throw new Error(`the schema has no ${operation.operation}`);
  const completeRoot = compileObject(root, [operation.selectionSet]);

  return (data, variables) => {
    const run: Run = { variables, path: [], faults: [] };
    const completed = completeRoot(data, run);
    return { data: isRecord(completed) ? completed : null, faults: run.faults };
  };

  function compileObject(declared: GraphQLCompositeType, selectionSets: readonly SelectionSetNode[]): Complete {
    const fieldsByType = new Map<string, readonly Field[]>();

    function fieldsOf(typename: unknown): readonly Field[] | undefined {
      // Plans do not select `__typename` where only one type is possible.
      const name = typename === undefined ? declared.name : typename;
      if (typeof name !== "string") return undefined;
      const known = fieldsByType.get(name);
      if (known) return known;
      const type = schema.getType(name);
      if (!isCompositeType(type) || !isA(type, declared)) return undefined;
      const fields = compileFields(type, selectionSets);
      fieldsByType.set(name, fields);
      return fields;
    }

    return (value, run) => {
      if (!isRecord(value)) return broken(run, `not an object of ${declared.name}`);
      const fields = fieldsOf(value["__typename"]);
      // The fault does not name the actual type, because clients do not know it.
      if (!fields) return broken(run, `no type of ${declared.name}`);
      const completed: Data = {};
      for (const { key, complete } of fields) {
        run.path.push(key);
        const own = complete(value, run);
        run.path.pop();
        if (own === INVALID) return null;
        write(completed, key, own);
      }
      return completed;
    };
  }

  function compileFields(type: GraphQLCompositeType, selectionSets: readonly SelectionSetNode[]): Field[] {
    const nodesByKey = new Map<string, [FieldNode, ...FieldNode[]]>();
    const spread = new Set<string>();
    for (const selectionSet of selectionSets) collect(selectionSet);
    return [...nodesByKey].flatMap(([key, nodes]) => compileField(type, key, nodes) ?? []);

    function collect({ selections }: SelectionSetNode): void {
      for (const selection of selections) {
        if (!isSelected(selection, holds)) continue;
        if (selection.kind === Kind.FIELD) {
          const key = selection.alias?.value ?? selection.name.value;
          const nodes = nodesByKey.get(key);
          if (nodes) nodes.push(selection);
          else nodesByKey.set(key, [selection]);
          continue;
        }
        const fragment = selection.kind === Kind.INLINE_FRAGMENT ? selection : spreadOnce(selection.name.value);
        if (fragment && applies(fragment.typeCondition?.name.value)) collect(fragment.selectionSet);
      }
    }

    function spreadOnce(name: string): FragmentDefinitionNode | undefined {
      if (spread.has(name)) return undefined;
      spread.add(name);
      return fragments.get(name);
    }

    function applies(condition: string | undefined): boolean {
      if (condition === undefined) return true;
      const wanted = schema.getType(condition);
      return isCompositeType(wanted) && isA(type, wanted);
    }
  }

  function compileField(
    type: GraphQLCompositeType,
    key: string,
    nodes: readonly [FieldNode, ...FieldNode[]],
  ): Field | undefined {
    const name = nodes[0].name.value;
    if (name === "__typename") return { key, complete: (parent) => typenameOf(parent, key, type) };
    if (type === schema.getQueryType() && (name === "__schema" || name === "__type")) return introspection(key, nodes);
    const field = isUnionType(type) ? undefined : type.getFields()[name];
    if (!field) return undefined;
    const selectionSets = nodes.flatMap(({ selectionSet }) => selectionSet ?? []);
    const complete = compileValue(field.type, selectionSets, `${type.name}.${name}`);
    return { key, complete: (parent, run) => complete(read(parent, key), run) };
  }

  function compileValue(
    type: GraphQLOutputType,
    selectionSets: readonly SelectionSetNode[],
    what: string,
  ): (value: unknown, run: Run) => unknown {
    if (!isNonNullType(type)) {
      const complete = compilePresent(type, selectionSets, what);
      return (value, run) => (value === null || value === undefined ? null : complete(value, run));
    }
    const complete = compilePresent(type.ofType, selectionSets, what);
    return (value, run) => {
      if (value === null || value === undefined) {
        broken(run, `null for ${what}`);
        return INVALID;
      }
      return complete(value, run) ?? INVALID;
    };
  }

  function compilePresent(type: Nullable, selectionSets: readonly SelectionSetNode[], what: string): Complete {
    if (isListType(type)) return compileList(compileValue(type.ofType, selectionSets, `an element of ${what}`), what);
    if (isCompositeType(type)) return compileObject(type, selectionSets);
    const isValid = leafTest(type);
    return (value, run) => (isValid(value) ? value : broken(run, `not a ${type.name} for ${what}`));
  }

  /** The type's name in the API schema, even if a subgraph names its root types differently. */
  function typenameOf(parent: Readonly<Data>, key: string, type: GraphQLCompositeType): unknown {
    const named = read(parent, key) ?? parent["__typename"];
    const actual = (typeof named === "string" ? schema.getType(named) : undefined) ?? type;
    return isObjectType(actual) ? actual.name : INVALID;
  }

  /** Introspection is answered from the schema, without a subgraph. */
  function introspection(key: string, nodes: readonly FieldNode[]): Field {
    const { variableDefinitions = [] } = operation;
    const document: DocumentNode = {
      kind: Kind.DOCUMENT,
      definitions: [
        {
          kind: Kind.OPERATION_DEFINITION,
          operation: OperationTypeNode.QUERY,
          variableDefinitions,
          selectionSet: { kind: Kind.SELECTION_SET, selections: nodes },
        },
        ...fragments.values(),
      ],
    };
    return {
      key,
      complete: (_parent, { variables }) =>
        executeSync({ schema, document, variableValues: variables }).data?.[key] ?? null,
    };
  }

  function isA(type: GraphQLCompositeType, wanted: GraphQLCompositeType): boolean {
    return type === wanted || (isAbstractType(wanted) && !isUnionType(type) && schema.isSubType(wanted, type));
  }
}

type Nullable = Exclude<
  GraphQLOutputType,
  { readonly ofType: GraphQLOutputType; readonly [Symbol.toStringTag]: "GraphQLNonNull" }
>;

function compileList(complete: (value: unknown, run: Run) => unknown, what: string): Complete {
  return (value, run) => {
    if (!Array.isArray(value)) return broken(run, `not a list for ${what}`);
    let isInvalid = false;
    const completed: unknown[] = [];
    for (let index = 0; index < value.length; index += 1) {
      run.path.push(index);
      const element = complete(value[index], run);
      run.path.pop();
      isInvalid ||= element === INVALID;
      completed.push(element);
    }
    return isInvalid ? null : completed;
  };
}

/** Custom scalars are the subgraph's responsibility. Enums allow only the values in the API schema. */
function leafTest(type: GraphQLLeafType): (value: unknown) => boolean {
  if (isEnumType(type)) {
    const names = new Set<unknown>(type.getValues().map(({ name }) => name));
    return (value) => names.has(value);
  }
  return (isSpecifiedScalarType(type) && SCALARS[type.name]) || (() => true);
}

function isWhole(value: unknown): boolean {
  return Number.isInteger(value);
}

function broken({ path, faults }: Run, what: string): null {
  if (faults.length < MOST_ERRORS) faults.push({ path: [...path], what });
  return null;
}
