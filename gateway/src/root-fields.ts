/** What an operation asks for at its root. */
import { Kind, type OperationDefinitionNode } from "graphql";

/** Whether it is for nothing but these fields; fragments are not looked into. */
export function asksOnlyFor({ selectionSet }: OperationDefinitionNode, fields: ReadonlySet<string>): boolean {
  return selectionSet.selections.every((field) => field.kind === Kind.FIELD && fields.has(field.name.value));
}
