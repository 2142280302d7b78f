import { type GraphQLSchema, isAbstractType, isInterfaceType } from "graphql";

/**
 * The types that satisfy a type condition on `name`: itself and, if it is abstract, its possible types and the
 * interfaces that implement it.
 */
export function subtypes(schema: GraphQLSchema, name: string): ReadonlySet<string> {
  const type = schema.getType(name);
  const names = new Set([name]);
  if (isAbstractType(type)) for (const possible of schema.getPossibleTypes(type)) names.add(possible.name);
  if (isInterfaceType(type))
    for (const narrower of schema.getImplementations(type).interfaces) names.add(narrower.name);
  return names;
}
