/**
 * Rewrites what a plan asks of a subscription's owner into the query that reads after a cursor:
 * `subscription { changes: stateChanges(since: $s) { entries } }` becomes
 * `query ($cursor: String) { changes: pullState(since: $cursor) { entries  cursor_to: to  cursor_hasMore: hasMore } }`.
 */
import {
  type ASTNode,
  type FieldNode,
  Kind,
  type OperationDefinitionNode,
  OperationTypeNode,
  parse,
  print,
  type SelectionNode,
  valueFromASTUntyped,
  type VariableDefinitionNode,
  visit,
} from "graphql";
import { requestFault } from "../errors.ts";
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
  /** The cursor that the client gave, by variable or in the text. */
  cursorOf(variables: Readonly<Record<string, unknown>>): string | null;
}

/** Rewrites the owner's subscription `operation`. Throws BAD_USER_INPUT/SUBSCRIPTION_UNKNOWN for a field without a source. */
export function toCursorReads(operation: string, sources: Sources): CursorReads {
  const { definitions } = parse(operation, { noLocation: true });
  const subscription = definitions.find((node) => node.kind === Kind.OPERATION_DEFINITION);
  const fragments = definitions.filter((node) => node.kind === Kind.FRAGMENT_DEFINITION);
  const field = subscription?.selectionSet.selections[0];
  if (subscription === undefined || field?.kind !== Kind.FIELD) throw unknown();
  const source = Object.hasOwn(sources, field.name.value) ? sources[field.name.value] : undefined;
  if (source === undefined) throw unknown();

  let prefix = "cursor";
  while (operation.includes(prefix)) prefix += "_";
  const names = { cursorVariable: prefix, toKey: `${prefix}_to`, hasMoreKey: `${prefix}_hasMore` };

  const root = toRead(field, source, names);
  const used = variablesIn([root, ...fragments]);
  const kept = (subscription.variableDefinitions ?? []).filter((node) => used.has(node.variable.name.value));
  const query: OperationDefinitionNode = {
    ...subscription,
    operation: OperationTypeNode.QUERY,
    variableDefinitions: [...kept, cursorDefinition(names.cursorVariable)],
    selectionSet: { kind: Kind.SELECTION_SET, selections: [root] },
  };

  const since = field.arguments?.find((argument) => argument.name.value === "since")?.value;
  return {
    source,
    ...names,
    responseKey: responseKeyOf(field),
    text: print({ kind: Kind.DOCUMENT, definitions: [query, ...fragments] }),
    variableNames: kept.map((node) => node.variable.name.value),
    cursorOf(variables) {
      const given: unknown = since && valueFromASTUntyped(since, variables);
      return typeof given === "string" ? given : null;
    },
  };
}

function toRead(
  field: FieldNode,
  source: Source,
  names: { cursorVariable: string; toKey: string; hasMoreKey: string },
): FieldNode {
  const cursor = { kind: Kind.VARIABLE, name: name(names.cursorVariable) } as const;
  return {
    ...field,
    alias: name(responseKeyOf(field)),
    name: name(source.query),
    arguments: [
      ...(field.arguments ?? []).filter(({ name }) => name.value !== "since"),
      { kind: Kind.ARGUMENT, name: name("since"), value: cursor },
    ],
    selectionSet: {
      kind: Kind.SELECTION_SET,
      selections: [
        ...(field.selectionSet?.selections ?? []),
        aliased(names.toKey, "to"),
        aliased(names.hasMoreKey, "hasMore"),
      ],
    },
  };
}

function variablesIn(nodes: readonly ASTNode[]): Set<string> {
  const found = new Set<string>();
  for (const node of nodes) visit(node, { Variable: ({ name }) => void found.add(name.value) });
  return found;
}

function responseKeyOf(field: FieldNode): string {
  return field.alias?.value ?? field.name.value;
}

function aliased(alias: string, field: string): SelectionNode {
  return { kind: Kind.FIELD, alias: name(alias), name: name(field) };
}

function cursorDefinition(variable: string): VariableDefinitionNode {
  return {
    kind: Kind.VARIABLE_DEFINITION,
    variable: { kind: Kind.VARIABLE, name: name(variable) },
    type: { kind: Kind.NAMED_TYPE, name: name("String") },
  };
}

function name(value: string): { readonly kind: Kind.NAME; readonly value: string } {
  return { kind: Kind.NAME, value };
}

function unknown(): Error {
  return requestFault("SUBSCRIPTION_UNKNOWN", "This field cannot be subscribed to.");
}
