/** What an operation selects at its root. */
import { Kind, type OperationDefinitionNode } from "graphql";

/** Whether the operation selects only these root fields; false if it has a fragment at its root. */
export function asksOnlyFor({ selectionSet }: OperationDefinitionNode, fields: ReadonlySet<string>): boolean {
  return selectionSet.selections.every((field) => field.kind === Kind.FIELD && fields.has(field.name.value));
}
