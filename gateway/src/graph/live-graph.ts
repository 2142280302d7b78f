import { getOperationAST, GraphQLError, parse, validate } from "graphql";
import { setImmediate as turn } from "node:timers/promises";
import type { KnownOperation } from "../plan/per-document.ts";
import type { Graph, LiveGraph } from "./graph.ts";

/** `documents` are texts of clients that each graph is made ready for before it serves, `first` among them. */
export async function createLiveGraph(first: Graph, documents: readonly string[] = []): Promise<LiveGraph> {
  const trusted = documents.map((text) => ({ text, name: undefined }));
  let current = first;
  await warm(first, trusted);

  return {
    current: () => current,
    async replace(next) {
      const inUse = current.known();
      await warm(next, [...trusted, ...inUse]);
      // What came up meanwhile.
      const seen = new Set(inUse.map(keyOf));
      await warm(
        next,
        current.known().filter((operation) => !seen.has(keyOf(operation))),
      );
      current = next;
    },
  };
}

/** Makes a graph ready for operations, letting requests pass in between. Those that it does not have are left out. */
async function warm(graph: Graph, operations: readonly KnownOperation[]): Promise<void> {
  for (const { text, name } of operations) {
    try {
      const document = parse(text);
      if (getOperationAST(document, name) && validate(graph.schema, document).length === 0)
        graph.prepare(document, name);
    } catch (cause) {
      // Whoever sends it is told.
      if (!(cause instanceof GraphQLError)) throw cause;
    }
    await turn();
  }
}

function keyOf({ text, name = "" }: KnownOperation): string {
  return `${name}\n${text}`;
}
