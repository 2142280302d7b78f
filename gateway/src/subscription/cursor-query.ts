/** The owner's query that reads after a cursor, and tells how far it came: what a subscription with a cursor is made of. */
import { Kind, valueFromASTUntyped, type ValueNode } from "graphql";
import { requestFault } from "../errors.ts";
import { aliased, toOwnerQuery } from "./owner-query.ts";
import type { Scope } from "./scope.ts";
import type { Source, Sources } from "./sources.ts";

/** How a subscription's events are read. */
export interface CursorReads {
  readonly source: Source;
  /** The owner's query. It takes the cursor as a variable, and all other arguments as the client gave them. */
  readonly text: string;
  /** The client's variables that the text uses. */
  readonly variableNames: readonly string[];
  readonly cursorVariable: string;
  /** Where the answer stands, and in it the position reached and whether there is more. */
  readonly responseKey: string;
  readonly toKey: string;
  readonly hasMoreKey: string;
  /** The client's variables but for the one that is nothing but its cursor: what answers depend on, beside the position. */
  besides(variables: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>>;
  /** The cursor that the client gave, by variable or in the text. */
  cursorOf(variables: Readonly<Record<string, unknown>>): string | null;
  /** Whom those variables are answered alike. */
  scopeOf(variables: Readonly<Record<string, unknown>>): Scope;
}

/** Rewrites the owner's subscription `operation`. Throws BAD_USER_INPUT/SUBSCRIPTION_UNKNOWN for a field without a source. */
export function toCursorReads(operation: string, sources: Sources["cursors"]): CursorReads {
  const owners = toOwnerQuery(operation, "cursor", (name) => {
    const source = sources.get(name);
    if (source === undefined) return undefined;
    const more = (fresh: string) => [aliased(`${fresh}_to`, "to"), aliased(`${fresh}_hasMore`, "hasMore")];
    return { query: source.query, argument: "since", type: "String", more };
  });
  const source = owners && sources.get(owners.field.name.value);
  if (owners === undefined || source === undefined)
    throw requestFault("SUBSCRIPTION_UNKNOWN", "This field cannot be subscribed to.");
  const { variable, field, ...query } = owners;
  const argument = (wanted: string): ValueNode | undefined =>
    field.arguments?.find(({ name }) => name.value === wanted)?.value;
  const given = (name: string, variables: Readonly<Record<string, unknown>>): unknown => {
    const value = argument(name);
    return value && valueFromASTUntyped(value, variables);
  };
  const since = argument("since");
  const cursor = since?.kind === Kind.VARIABLE ? since.name.value : undefined;
  const isUsed = query.variableNames.some((name) => name === cursor);
  return {
    ...query,
    source,
    cursorVariable: variable,
    toKey: `${variable}_to`,
    hasMoreKey: `${variable}_hasMore`,
    besides(variables) {
      if (cursor === undefined || isUsed) return variables;
      const { [cursor]: _since, ...others } = variables;
      return others;
    },
    cursorOf(variables) {
      const position = given("since", variables);
      return typeof position === "string" ? position : null;
    },
    scopeOf: (variables) =>
      source.ownWith === undefined || given(source.ownWith, variables) == null ? source.scope : "VIEWER",
  };
}
