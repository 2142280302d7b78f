/**
 * The owner's query behind a subscription with a cursor: it reads what is after a cursor, and returns the position it
 * reached.
 */
import { Kind, valueFromASTUntyped, type ValueNode } from "graphql";
import { requestFault } from "../errors.ts";
import { aliased, toOwnerQuery } from "./owner-query.ts";
import type { Scope } from "./scope.ts";
import type { Source, Sources } from "./sources.ts";

/** How the events of a subscription with a cursor are read. */
export interface CursorReads {
  readonly source: Source;
  /** The owner's query. The cursor is a variable; all other arguments are the client's. */
  readonly text: string;
  /** The client's variables that the text uses. */
  readonly variableNames: readonly string[];
  readonly cursorVariable: string;
  /** Response keys of the answer, and within it of the position reached and of whether there is more. */
  readonly responseKey: string;
  readonly toKey: string;
  readonly hasMoreKey: string;
  /**
   * The client's variables without one that is only used as the cursor: what an answer depends on besides the position.
   */
  besides(variables: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>>;
  /** The cursor that the client gave, as a variable or a literal. */
  cursorOf(variables: Readonly<Record<string, unknown>>): string | null;
  /** The scope within which these variables get the same answer. */
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
