/**
 * The representation of an object for the subgraph that is to complete it: its type, its key, and the fields that
 * `@requires` names.
 */
import type { QueryPlanSelectionNode } from "@apollo/query-planner";
import type { GraphQLSchema } from "graphql";
import { isRecord } from "../subgraph/subgraph-error.ts";
import { type Data, merge, read, write } from "./data.ts";
import { isOfType } from "./place.ts";
import { subtypes } from "./subtypes.ts";

/** Takes from an object what `requires` names; null if part of it is missing, for example after an error. */
type Take = (object: Readonly<Data>) => Data | null;

/** Returns an object's representation as a new object; undefined if the object is of another type or incomplete. */
export function compileRepresentation(
  requires: readonly QueryPlanSelectionNode[],
  schema: GraphQLSchema,
): (object: Readonly<Data>) => Data | undefined {
  const take = compileTake(requires, schema);
  return (object) => {
    const representation = take(object);
    return representation !== null && typeof representation["__typename"] === "string" ? representation : undefined;
  };
}

function compileTake(selections: readonly QueryPlanSelectionNode[], schema: GraphQLSchema): Take {
  const parts = selections.map((selection) => compilePart(selection, schema));
  return (object) => {
    const taken: Data = {};
    return parts.every((part) => part(object, taken)) ? taken : null;
  };
}

/** Adds one selection to `taken`; false when it is missing. */
function compilePart(
  selection: QueryPlanSelectionNode,
  schema: GraphQLSchema,
): (object: Readonly<Data>, taken: Data) => boolean {
  if (selection.kind === "InlineFragment") {
    const take = compileTake(selection.selections, schema);
    const types = selection.typeCondition === undefined ? undefined : subtypes(schema, selection.typeCondition);
    return (object, taken) => {
      const own = !types || isOfType(object, types) ? take(object) : null;
      if (own) merge(taken, own);
      return true;
    };
  }
  const key = selection.alias ?? selection.name;
  const take = selection.selections && compileTake(selection.selections, schema);
  const within = (value: unknown): unknown => {
    if (!take) return value;
    if (Array.isArray(value)) return value.map(within);
    return isRecord(value) ? take(value) : null;
  };
  return (object, taken) => {
    const value = read(object, key);
    if (value === undefined) return false;
    write(taken, key, within(value));
    return true;
  };
}
