/**
 * Rewrites the subscription that a plan sends to its owner into a query of the same owner with one added argument:
 * `subscription { changes: stateChanges(since: $s) { entries } }` becomes
 * `query ($cursor: String) { changes: pullState(since: $cursor) { entries } }`.
 */
import {
  type ASTNode,
  type FieldNode,
  Kind,
  type OperationDefinitionNode,
  OperationTypeNode,
  parse,
  parseType,
  print,
  type SelectionNode,
  visit,
} from "graphql";

export interface OwnerQuery {
  readonly text: string;
  /** The client's variables that the text uses. */
  readonly variableNames: readonly string[];
  /** The variable of the added argument. */
  readonly variable: string;
  /** The response key of the answer. */
  readonly responseKey: string;
  /** The subscription's own field. */
  readonly field: FieldNode;
}

interface Rewriting {
  /** The query's name. */
  readonly query: string;
  /** The added argument, which replaces the client's argument of that name. */
  readonly argument: string;
  /** The argument's type in SDL. */
  readonly type: string;
  /** Selections added to the client's. `fresh` is a prefix that no other name in the operation has. */
  readonly more?: (fresh: string) => readonly SelectionNode[];
}

/**
 * Undefined if `rewritingOf` has nothing for the field. `fresh` is the prefix of added names, extended until the
 * operation does not contain it.
 */
export function toOwnerQuery(
  operation: string,
  fresh: string,
  rewritingOf: (field: string) => Rewriting | undefined,
): OwnerQuery | undefined {
  const { definitions } = parse(operation, { noLocation: true });
  const subscription = definitions.find((node) => node.kind === Kind.OPERATION_DEFINITION);
  const fragments = definitions.filter((node) => node.kind === Kind.FRAGMENT_DEFINITION);
  const field = subscription?.selectionSet.selections[0];
  if (subscription === undefined || field?.kind !== Kind.FIELD) return undefined;
  const rewriting = rewritingOf(field.name.value);
  if (rewriting === undefined) return undefined;

  let variable = fresh;
  while (operation.includes(variable)) variable += "_";
  const { query, argument, type, more } = rewriting;
  const value = { kind: Kind.VARIABLE, name: name(variable) } as const;
  const root: FieldNode = {
    ...field,
    alias: name(responseKeyOf(field)),
    name: name(query),
    arguments: [
      ...(field.arguments ?? []).filter(({ name }) => name.value !== argument),
      { kind: Kind.ARGUMENT, name: name(argument), value },
    ],
    selectionSet: {
      kind: Kind.SELECTION_SET,
      selections: [...(field.selectionSet?.selections ?? []), ...(more?.(variable) ?? [])],
    },
  };
  const used = variablesIn([root, ...fragments]);
  const kept = (subscription.variableDefinitions ?? []).filter((node) => used.has(node.variable.name.value));
  const definition: OperationDefinitionNode = {
    ...subscription,
    operation: OperationTypeNode.QUERY,
    variableDefinitions: [
      ...kept,
      { kind: Kind.VARIABLE_DEFINITION, variable: value, type: parseType(type, { noLocation: true }) },
    ],
    selectionSet: { kind: Kind.SELECTION_SET, selections: [root] },
  };
  return {
    text: print({ kind: Kind.DOCUMENT, definitions: [definition, ...fragments] }),
    variableNames: kept.map((node) => node.variable.name.value),
    variable,
    responseKey: responseKeyOf(field),
    field,
  };
}

/** `alias: field`. */
export function aliased(alias: string, field: string): SelectionNode {
  return { kind: Kind.FIELD, alias: name(alias), name: name(field) };
}

function variablesIn(nodes: readonly ASTNode[]): Set<string> {
  const found = new Set<string>();
  for (const node of nodes) visit(node, { Variable: ({ name }) => void found.add(name.value) });
  return found;
}

function responseKeyOf(field: FieldNode): string {
  return field.alias?.value ?? field.name.value;
}

function name(value: string): { readonly kind: Kind.NAME; readonly value: string } {
  return { kind: Kind.NAME, value };
}
