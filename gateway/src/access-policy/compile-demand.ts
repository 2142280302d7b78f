import {
  type DocumentNode,
  type FragmentDefinitionNode,
  getNamedType,
  getOperationAST,
  type GraphQLCompositeType,
  type GraphQLField,
  type GraphQLSchema,
  isAbstractType,
  Kind,
  type OperationDefinitionNode,
  TypeInfo,
  visit,
  visitWithTypeInfo,
} from "graphql";
import type { Declarations } from "./declarations.ts";
import { type Demand, strictest } from "./demand.ts";

/**
 * The combined demand of all fields that an operation of a valid document selects; undefined if there is none. A field
 * of an interface carries the demands of every implementation. Fields under `@skip` and `@include` count.
 */
export function compileDemand(
  graph: { readonly schema: GraphQLSchema; readonly declarations: Declarations },
  document: DocumentNode,
  operationName: string | undefined,
): Demand | undefined {
  const operation = getOperationAST(document, operationName);
  if (!operation) return undefined;
  const fragments = new Map<string, FragmentDefinitionNode>();
  for (const definition of document.definitions)
    if (definition.kind === Kind.FRAGMENT_DEFINITION) fragments.set(definition.name.value, definition);
  const info = new TypeInfo(graph.schema);
  const declared = new Set<string>();
  // Grows during the iteration: every fragment reached is added once.
  const reached = new Set<OperationDefinitionNode | FragmentDefinitionNode>([operation]);
  for (const definition of reached)
    visit(
      definition,
      visitWithTypeInfo(info, {
        Field() {
          const [parent, field] = [info.getParentType(), info.getFieldDef()];
          if (parent && field)
            for (const coordinate of coordinatesOf(graph.schema, parent, field)) declared.add(coordinate);
        },
        FragmentSpread({ name }) {
          const fragment = fragments.get(name.value);
          if (fragment) reached.add(fragment);
        },
      }),
    );
  return strictest([...declared].flatMap((coordinate) => graph.declarations.get(coordinate) ?? []));
}

/** All coordinates where a declaration that applies to the field may stand. */
function coordinatesOf(
  schema: GraphQLSchema,
  parent: GraphQLCompositeType,
  { name, type }: GraphQLField<unknown, unknown>,
): string[] {
  const types = isAbstractType(parent) ? [parent, ...schema.getPossibleTypes(parent)] : [parent];
  return [...types.flatMap((each) => [each.name, `${each.name}.${name}`]), getNamedType(type).name];
}
