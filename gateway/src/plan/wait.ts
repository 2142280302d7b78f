/**
 * How long a fetch asks its subgraph to wait for a change: the `waitMs` argument of a root field. The gateway extends
 * its deadline by as much.
 */
import { Kind, parse, type ValueNode, valueFromASTUntyped } from "graphql";
import type { Data } from "./data.ts";

const ARGUMENT = "waitMs";

/**
 * Compiles a fetch's text into a function of the variables that returns the longest wait requested. Milliseconds; 0 if
 * none.
 */
export function compileWait(query: string): (variables: Readonly<Data>) => number {
  if (!query.includes(ARGUMENT)) return () => 0;
  const values = waitsIn(query);
  return (variables) =>
    values.reduce((longest, value) => {
      const asked: unknown = valueFromASTUntyped(value, variables);
      return typeof asked === "number" ? Math.max(longest, asked) : longest;
    }, 0);
}

/** Only root fields can wait. */
function waitsIn(query: string): ValueNode[] {
  return parse(query, { noLocation: true }).definitions.flatMap((definition) =>
    definition.kind === Kind.OPERATION_DEFINITION
      ? definition.selectionSet.selections.flatMap((field) =>
          field.kind === Kind.FIELD
            ? (field.arguments ?? []).flatMap(({ name, value }) => (name.value === ARGUMENT ? [value] : []))
            : [],
        )
      : [],
  );
}
