/** Adapts a subgraph client to the executor's fetches, and gives every error a path. */
import { Kind, parse } from "graphql";
import type { SubgraphError } from "./subgraph-error.ts";
import type { Scope, SubgraphAnswer, SubgraphClient } from "./subgraph-client.ts";

/** Runs one fetch at a subgraph. The caller owns the answer; each error has a path within it. */
export type DataSource = (
  request: {
    readonly query: string;
    readonly operationName: string | undefined;
    readonly variables: Record<string, unknown>;
    readonly waitMs: number;
  },
  scope: Scope,
) => Promise<Pick<SubgraphAnswer, "data" | "errors">>;

/** A data source over a client. */
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
    // The executor maps `_entities` and an index to a place in the client's operation; without an index, to all places.
    const isPlaced = Array.isArray(entities) ? typeof error.path?.[1] === "number" : error.path !== undefined;
    if (isPlaced) return [error];
    // Each of these is reported at every place.
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
