/** The variables that `@skip` and `@include` depend on. */
import {
  type DirectiveNode,
  type DocumentNode,
  Kind,
  type OperationDefinitionNode,
  type SelectionNode,
  valueFromASTUntyped,
  visit,
} from "graphql";
import { requestFault } from "../errors.ts";
import { type Data, read } from "./data.ts";

export interface Conditions {
  /** Every variable that decides whether something is selected. */
  readonly names: readonly string[];
  /** The variable's value, or its default. Throws BAD_USER_INPUT/VARIABLES_INVALID if that is not a Boolean. */
  readonly value: (name: string, variables: Readonly<Data>) => boolean;
}

/** The conditions of a valid operation. */
export function conditionsOf(document: DocumentNode, operation: OperationDefinitionNode): Conditions {
  const names = new Set<string>();
  visit(document, {
    Directive(directive) {
      const condition = isCondition(directive) ? argumentOf(directive) : undefined;
      if (condition?.kind === Kind.VARIABLE) names.add(condition.name.value);
    },
  });
  const defined = operation.variableDefinitions ?? [];
  const defaults = new Map(
    defined.map(({ variable, defaultValue }) => [
      variable.name.value,
      defaultValue ? valueFromASTUntyped(defaultValue) : undefined,
    ]),
  );
  return {
    // Other operations of the document have variables of their own.
    names: [...names].filter((name) => defaults.has(name)),
    value(name, variables) {
      const value = read(variables, name) ?? (Object.hasOwn(variables, name) ? null : defaults.get(name));
      if (typeof value !== "boolean") throw requestFault("VARIABLES_INVALID", `Variable "$${name}" must be a Boolean.`);
      return value;
    },
  };
}

/** Whether a selection is selected, given the conditions' values. */
export function isSelected({ directives = [] }: SelectionNode, value: (name: string) => boolean): boolean {
  return directives.filter(isCondition).every((directive) => {
    const condition = argumentOf(directive);
    const holds =
      condition?.kind === Kind.VARIABLE
        ? value(condition.name.value)
        : condition?.kind === Kind.BOOLEAN && condition.value;
    return holds === (directive.name.value === "include");
  });
}

function isCondition({ name }: DirectiveNode): boolean {
  return name.value === "skip" || name.value === "include";
}

function argumentOf({
  arguments: given,
}: DirectiveNode): NonNullable<DirectiveNode["arguments"]>[number]["value"] | undefined {
  return given?.find(({ name }) => name.value === "if")?.value;
}
