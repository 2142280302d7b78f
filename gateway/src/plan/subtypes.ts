import { type GraphQLSchema, isAbstractType, isInterfaceType } from "graphql";

/** The names of the types to which a condition on `name` applies: itself, and what is of its kind when it is abstract. */
export function subtypes(schema: GraphQLSchema, name: string): ReadonlySet<string> {
  const type = schema.getType(name);
  const names = new Set([name]);
  if (isAbstractType(type)) for (const possible of schema.getPossibleTypes(type)) names.add(possible.name);
  if (isInterfaceType(type))
    for (const narrower of schema.getImplementations(type).interfaces) names.add(narrower.name);
  return names;
}
