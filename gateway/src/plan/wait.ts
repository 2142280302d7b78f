/**
 * How long a fetch asks its owner to wait for something to tell: the argument `waitMs` of one of its fields. The gateway's
 * patience with the owner grows by it.
 */
import { Kind, parse, type ValueNode, valueFromASTUntyped } from "graphql";
import type { Data } from "./data.ts";

const ARGUMENT = "waitMs";

/** For the text of a fetch: the longest wait that it asks for with these variables. Milliseconds; 0 when it asks for none. */
export function compileWait(query: string): (variables: Readonly<Data>) => number {
  if (!query.includes(ARGUMENT)) return () => 0;
  const values = waitsIn(query);
  return (variables) =>
    values.reduce((longest, value) => {
      const asked: unknown = valueFromASTUntyped(value, variables);
      return typeof asked === "number" ? Math.max(longest, asked) : longest;
    }, 0);
}

/** Of the root fields: nothing below one waits. */
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
