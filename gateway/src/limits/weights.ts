/** What the graph itself says of costs: `@cost` and `@listSize` (IBM's cost directives, as federation 2.9 composes them). */
import { type ConstDirectiveNode, type DefinitionNode, parse, valueFromASTUntyped } from "graphql";
import { z } from "zod";

const ListSize = z.object({
  assumedSize: z.int().nonnegative().nullish(),
  slicingArguments: z.array(z.string()).nullish(),
  sizedFields: z.array(z.string()).nullish(),
});
export type ListSize = z.output<typeof ListSize>;
const Cost = z.object({ weight: z.int() });

/** By coordinate: `Type`, `Type.field`, `Type.field(argument:)`. */
export interface Weights {
  readonly costs: ReadonlyMap<string, number>;
  readonly listSizes: ReadonlyMap<string, ListSize>;
}

/** Reads them from a supergraph. Throws ZodError when one does not have the arguments that its definition says. */
export function readWeights(supergraphSdl: string): Weights {
  const costs = new Map<string, number>();
  const listSizes = new Map<string, ListSize>();

  function note(coordinate: string, directives: readonly ConstDirectiveNode[] = []): void {
    for (const directive of directives) {
      if (directive.name.value === "cost") costs.set(coordinate, Cost.parse(argumentsOf(directive)).weight);
      if (directive.name.value === "listSize") listSizes.set(coordinate, ListSize.parse(argumentsOf(directive)));
    }
  }

  for (const definition of parse(supergraphSdl).definitions) {
    if (!isType(definition)) continue;
    const type = definition.name.value;
    note(type, definition.directives);
    if (!("fields" in definition)) continue;
    for (const field of definition.fields ?? []) {
      note(`${type}.${field.name.value}`, field.directives);
      if (!("arguments" in field)) continue;
      for (const argument of field.arguments ?? [])
        note(`${type}.${field.name.value}(${argument.name.value}:)`, argument.directives);
    }
  }
  return { costs, listSizes };
}

function argumentsOf({ arguments: given = [] }: ConstDirectiveNode): Record<string, unknown> {
  return Object.fromEntries(given.map(({ name, value }) => [name.value, valueFromASTUntyped(value)]));
}

function isType(
  definition: DefinitionNode,
): definition is Extract<DefinitionNode, { kind: `${string}TypeDefinition` }> {
  return definition.kind.endsWith("TypeDefinition");
}
