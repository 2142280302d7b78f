/** What the executor asks for each fetch of a plan: the subgraph, with errors placed where they belong. */
import { Kind, parse } from "graphql";
import type { SubgraphError } from "./subgraph-error.ts";
import type { Scope, SubgraphAnswer, SubgraphClient } from "./subgraph-client.ts";

/** A subgraph, asked for one fetch. The answer is the asker's own; each error has a path within it. */
export type DataSource = (
  request: {
    readonly query: string;
    readonly operationName: string | undefined;
    readonly variables: Record<string, unknown>;
    readonly waitMs: number;
  },
  scope: Scope,
) => Promise<Pick<SubgraphAnswer, "data" | "errors">>;

/** The source over a client. */
export function createDataSource(client: Pick<SubgraphClient, "graphql">): DataSource {
  return async (request, scope) => {
    const answer = await client.graphql(request, scope);
    return { data: answer.data, errors: placeErrors(answer, request.query, request.variables) };
  };
}

const MOST_UNPLACED = 10;

/** Gives each error a path within the fetch, so that the client sees which of its fields are missing because of it. */
export function placeErrors(
  answer: Pick<SubgraphAnswer, "errors">,
  query: string,
  variables: Readonly<Record<string, unknown>>,
): SubgraphError[] {
  const entities = variables["representations"];
  let unplaced = 0;
  return answer.errors.flatMap((error) => {
    // The executor turns `_entities` and an index into a place in the client's operation; without one it is all of them.
    const isPlaced = Array.isArray(entities) ? typeof error.path?.[1] === "number" : error.path !== undefined;
    if (isPlaced) return [error];
    // Each of them is told in every place.
    unplaced += 1;
    if (unplaced > MOST_UNPLACED) return [];
    if (Array.isArray(entities)) return entities.map((_, index) => ({ ...error, path: ["_entities", index] }));
    return rootKeys(query).map((key) => ({ ...error, path: [key] }));
  });
}

function rootKeys(query: string): string[] {
  const operation = parse(query, { noLocation: true }).definitions.find(
    ({ kind }) => kind === Kind.OPERATION_DEFINITION,
  );
  if (operation?.kind !== Kind.OPERATION_DEFINITION) return [];
  return operation.selectionSet.selections.flatMap((selection) =>
    selection.kind === Kind.FIELD ? [selection.alias?.value ?? selection.name.value] : [],
  );
}
