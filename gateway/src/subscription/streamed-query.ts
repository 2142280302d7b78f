/** The operation sent to the owner of a `@streamed` subscription: its own field, as planned. */
import { Kind, parse } from "graphql";
import type { Sources, Streamed } from "./sources.ts";

export interface StreamedReads {
  readonly streamed: Streamed;
  readonly text: string;
  /** The request with the client's variables that the operation uses. */
  questionOf(variables: Readonly<Record<string, unknown>>): Question;
}

interface Question {
  readonly query: string;
  readonly variables: Record<string, unknown>;
  readonly operationName: string | undefined;
}

/** Undefined if the owner does not stream `operation`. */
export function toStreamedReads(operation: string, sources: Sources["streams"]): StreamedReads | undefined {
  const subscription = parse(operation, { noLocation: true }).definitions.find(
    (node) => node.kind === Kind.OPERATION_DEFINITION,
  );
  const field = subscription?.selectionSet.selections[0];
  const streamed = field?.kind === Kind.FIELD ? sources.get(field.name.value) : undefined;
  if (!streamed) return undefined;
  const used = new Set(subscription?.variableDefinitions?.map(({ variable }) => variable.name.value));
  return {
    streamed,
    text: operation,
    questionOf: (variables) => ({
      query: operation,
      variables: Object.fromEntries(Object.entries(variables).filter(([name]) => used.has(name))),
      operationName: subscription?.name?.value,
    }),
  };
}
