/** Objects in an operation's data with their paths: what a fetch completes, and where its errors belong. */
import type { ResponsePath } from "@apollo/query-planner";
import type { GraphQLSchema } from "graphql";
import { isRecord } from "../subgraph/subgraph-error.ts";
import { type Data, read } from "./data.ts";
import { subtypes } from "./subtypes.ts";

export interface Place {
  readonly object: Data;
  /** Undefined for the root. */
  readonly path: Path | undefined;
}

/** A linked list from the last key to the first: there are many paths, and most are never read. */
interface Path {
  readonly parent: Path | undefined;
  readonly key: string | number;
}

/** The keys from the root. */
export function keysOf({ path }: Place): (string | number)[] {
  const keys: (string | number)[] = [];
  for (let at = path; at; at = at.parent) keys.push(at.key);
  return keys.toReversed();
}

type Step =
  | { readonly kind: "FIELD"; readonly key: string }
  | { readonly kind: "ELEMENTS" }
  | { readonly kind: "TYPES"; readonly names: ReadonlySet<string> };

/**
 * Compiles a plan's path into a function from places to the objects it leads to. Elements are `devices`, `@` for each
 * element of a list, and either with `|[Phone,Tablet]` for objects of those types only. Skips null.
 */
export function compilePath(elements: ResponsePath, schema: GraphQLSchema): (places: readonly Place[]) => Place[] {
  const steps = elements.flatMap((element) => stepsOf(String(element), schema));

  function walk(value: unknown, path: Path | undefined, depth: number, found: Place[]): void {
    const step = steps[depth];
    if (!step) {
      if (isRecord(value)) found.push({ object: value, path });
    } else if (step.kind === "ELEMENTS") {
      if (Array.isArray(value))
        for (let index = 0; index < value.length; index += 1)
          walk(value[index], { parent: path, key: index }, depth + 1, found);
    } else if (isRecord(value)) {
      if (step.kind === "FIELD") walk(read(value, step.key), { parent: path, key: step.key }, depth + 1, found);
      else if (isOfType(value, step.names)) walk(value, path, depth + 1, found);
    }
  }

  return (places) => {
    const found: Place[] = [];
    for (const { object, path } of places) walk(object, path, 0, found);
    return found;
  };
}

/** Whether an object's `__typename` is one of these types. */
export function isOfType({ __typename }: Readonly<Data>, names: ReadonlySet<string>): boolean {
  return typeof __typename === "string" && names.has(__typename);
}

function stepsOf(element: string, schema: GraphQLSchema): Step[] {
  const { name = "", types } = /^(?<name>[^|]*)(?:\|\[(?<types>.*)\])?$/.exec(element)?.groups ?? {};
  const steps: Step[] = [];
  if (name === "@") steps.push({ kind: "ELEMENTS" });
  else if (name !== "") steps.push({ kind: "FIELD", key: name });
  if (types !== undefined)
    steps.push({ kind: "TYPES", names: new Set(types.split(",").flatMap((type) => [...subtypes(schema, type)])) });
  return steps;
}
