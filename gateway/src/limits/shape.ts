/**
 * Checks the shape of a document before validation, because the cost of some validation rules and of the planner grows
 * far faster than the text. Each fragment is measured once, so measuring is linear.
 */
import {
  type DocumentNode,
  type FragmentDefinitionNode,
  Kind,
  type OperationDefinitionNode,
  type SelectionNode,
  type SelectionSetNode,
} from "graphql";
import { limitExceeded, type Limits } from "./limits.ts";

type Shape = Readonly<Record<"depth" | "aliases" | "rootFields" | "directives" | "selections", number>>;
type Definition = OperationDefinitionNode | FragmentDefinitionNode;

const NOTHING: Shape = { depth: 0, aliases: 0, rootFields: 0, directives: 0, selections: 0 };
const MEASURES = ["depth", "aliases", "rootFields", "directives", "selections"] as const;
const INTROSPECTION = new Set(["__schema", "__type"]);

/** Throws AppError as `limitExceeded` describes for the first operation or fragment beyond `limits`. */
export function assertShape({ definitions }: DocumentNode, limits: Pick<Limits, keyof Shape>): void {
  const shapeOf = measureOf(definitions.filter((definition) => definition.kind === Kind.FRAGMENT_DEFINITION));
  for (const definition of definitions) {
    if (!isExecutable(definition)) continue;
    const shape = shapeOf(definition);
    for (const measure of MEASURES)
      // `rootFields` applies to operations only: a fragment's outermost fields may be spread anywhere.
      if (
        shape[measure] > limits[measure] &&
        (measure !== "rootFields" || definition.kind !== Kind.FRAGMENT_DEFINITION)
      )
        throw limitExceeded(measure, limits[measure], shape[measure]);
  }
}

function measureOf(definitions: readonly FragmentDefinitionNode[]): (definition: Definition) => Shape {
  const fragments = new Map(definitions.map((fragment) => [fragment.name.value, fragment]));
  // A fragment being measured counts as nothing: validation rejects fragment cycles.
  const known = new Map<string, Shape>();

  function ofFragment(name: string): Shape {
    const measured = known.get(name);
    if (measured) return measured;
    known.set(name, NOTHING);
    const fragment = fragments.get(name);
    const shape = fragment ? ofDefinition(fragment) : NOTHING;
    known.set(name, shape);
    return shape;
  }

  function ofDefinition(definition: Definition): Shape {
    const shape = ofSelections(definition.selectionSet);
    const variables = "variableDefinitions" in definition ? (definition.variableDefinitions ?? []) : [];
    const own = [definition, ...variables].reduce((sum, { directives }) => sum + (directives?.length ?? 0), 0);
    return { ...shape, directives: add(shape.directives, own) };
  }

  function ofSelections(set: SelectionSetNode | undefined): Shape {
    return (set?.selections ?? []).map(ofSelection).reduce(
      (sum, next) => ({
        depth: Math.max(sum.depth, next.depth),
        aliases: add(sum.aliases, next.aliases),
        rootFields: add(sum.rootFields, next.rootFields),
        directives: add(sum.directives, next.directives),
        selections: add(sum.selections, next.selections),
      }),
      NOTHING,
    );
  }

  function ofSelection(selection: SelectionNode): Shape {
    const within =
      selection.kind === Kind.FRAGMENT_SPREAD ? ofFragment(selection.name.value) : ofSelections(selection.selectionSet);
    const shape = {
      ...within,
      directives: add(within.directives, selection.directives?.length ?? 0),
      selections: add(within.selections, 1),
    };
    if (selection.kind !== Kind.FIELD) return shape;
    return {
      ...shape,
      depth: INTROSPECTION.has(selection.name.value) ? 1 : within.depth + 1,
      aliases: add(within.aliases, selection.alias ? 1 : 0),
      rootFields: 1,
    };
  }

  return ofDefinition;
}

/** Chains of fragments that each spread the next twice double at each step, beyond exact integers. */
function add(one: number, other: number): number {
  return Math.min(one + other, Number.MAX_SAFE_INTEGER);
}

function isExecutable(definition: DocumentNode["definitions"][number]): definition is Definition {
  return definition.kind === Kind.OPERATION_DEFINITION || definition.kind === Kind.FRAGMENT_DEFINITION;
}
