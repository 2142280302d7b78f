/** Renames and value changes that a plan requires, in what is sent to a subgraph or in its answer. */
import type { FetchDataRewrite } from "@apollo/query-planner";
import type { GraphQLSchema } from "graphql";
import { isRecord } from "../subgraph/subgraph-error.ts";
import { type Data, read, write } from "./data.ts";
import { subtypes } from "./subtypes.ts";

/** Compiles `rewrites` into a function that applies them in order, in place. Undefined if there are none. */
export function compileRewrites(
  rewrites: readonly FetchDataRewrite[] | undefined,
  schema: GraphQLSchema,
): ((object: Data) => void) | undefined {
  if (!rewrites || rewrites.length === 0) return undefined;
  const apply = rewrites.map((rewrite) => compileRewrite(rewrite, schema));
  return (object) => {
    for (const rewrite of apply) rewrite(object);
  };
}

function compileRewrite(rewrite: FetchDataRewrite, schema: GraphQLSchema): (object: Data) => void {
  const field = rewrite.path.at(-1) ?? "";
  const steps = rewrite.path.slice(0, -1).map((element) => {
    const type = /^\.\.\. on (?<type>.*)$/.exec(element)?.groups?.["type"];
    return type === undefined ? { field: element } : { types: subtypes(schema, type) };
  });

  function change(object: Data): void {
    if (rewrite.kind === "ValueSetter") return write(object, field, rewrite.setValueTo);
    const value = read(object, field);
    if (value === undefined) return;
    write(object, rewrite.renameKeyTo, value);
    object[field] = undefined;
  }

  function walk(value: unknown, depth: number): void {
    if (Array.isArray(value)) for (const element of value) walk(element, depth);
    if (!isRecord(value)) return;
    const step = steps[depth];
    if (!step) change(value);
    else if (step.types === undefined) walk(read(value, step.field), depth + 1);
    else if (isPossibly(value, step.types)) walk(value, depth + 1);
  }

  return (object) => walk(object, 0);
}

/** Plans do not select `__typename` where only one type is possible. */
function isPossibly({ __typename }: Data, types: ReadonlySet<string>): boolean {
  return typeof __typename !== "string" || types.has(__typename);
}
