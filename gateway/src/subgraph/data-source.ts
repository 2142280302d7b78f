/** What @apollo/gateway's executor asks for each fetch of a plan: the subgraph, with errors placed where they belong. */
import type { GraphQLDataSource } from "@apollo/gateway";
import { Kind, parse } from "graphql";
import type { GatewayContext } from "../context.ts";
import type { SubgraphAnswer, SubgraphClient } from "./subgraph-client.ts";
import type { SubgraphError } from "./subgraph-error.ts";

/** A data source over one subgraph; each request's context is a GatewayContext. */
export function createDataSource(client: SubgraphClient): GraphQLDataSource<GatewayContext> {
  return {
    async process(asked) {
      if (!("incomingRequestContext" in asked)) throw new Error("only operations of clients are fetched");
      const { request, context } = asked;
      const query = request.query ?? "";
      const variables: Record<string, unknown> = request.variables ?? {};
      const answer = await client.graphql({ query, variables, operationName: request.operationName }, context);
      const errors = placeErrors(answer, query, variables);
      return errors.length === 0 ? { data: answer.data } : { data: answer.data, errors };
    },
  };
}

/** Gives each error a path within the fetch, so that the client sees which of its fields are missing because of it. */
export function placeErrors(
  answer: SubgraphAnswer,
  query: string,
  variables: Readonly<Record<string, unknown>>,
): SubgraphError[] {
  const entities = variables["representations"];
  return answer.errors.flatMap((error) => {
    // The executor turns `_entities` and an index into a place in the client's operation; it knows no place without one.
    const isPlaced = Array.isArray(entities) ? typeof error.path?.[1] === "number" : error.path !== undefined;
    if (isPlaced) return [error];
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
