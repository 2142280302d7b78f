import { getOperationAST, GraphQLError, parse, validate } from "graphql";
import { setImmediate as turn } from "node:timers/promises";
import type { KnownOperation } from "../plan/per-document.ts";
import type { Graph, LiveGraph } from "./graph.ts";

/** `documents` are client operations that every graph, including `first`, is prepared for before it serves. */
export async function createLiveGraph(first: Graph, documents: readonly string[] = []): Promise<LiveGraph> {
  const trusted = documents.map((text) => ({ text, name: undefined }));
  let current = first;
  await warm(first, trusted);

  return {
    current: () => current,
    async replace(next) {
      const inUse = current.known();
      await warm(next, [...trusted, ...inUse]);
      // Prepare what came into use in the meantime.
      const seen = new Set(inUse.map(keyOf));
      await warm(
        next,
        current.known().filter((operation) => !seen.has(keyOf(operation))),
      );
      current = next;
    },
  };
}

/**
 * Prepares a graph for operations, yielding to requests in between. Skips operations that are not valid on the graph.
 */
async function warm(graph: Graph, operations: readonly KnownOperation[]): Promise<void> {
  for (const { text, name } of operations) {
    try {
      const document = parse(text);
      if (getOperationAST(document, name) && validate(graph.schema, document).length === 0)
        graph.prepare(document, name);
    } catch (cause) {
      // The client that sends the operation gets the error.
      if (!(cause instanceof GraphQLError)) throw cause;
    }
    await turn();
  }
}

function keyOf({ text, name = "" }: KnownOperation): string {
  return `${name}\n${text}`;
}
