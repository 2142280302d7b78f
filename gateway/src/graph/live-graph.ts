import { getOperationAST, GraphQLError, type GraphQLSchema, parse, validate } from "graphql";
import { setImmediate as turn } from "node:timers/promises";
import type { KnownOperation } from "../plan/per-document.ts";
import type { Graph, LiveGraph } from "./graph.ts";

/** `documents` are texts of clients that each graph is made ready for before it serves, `first` among them. */
export async function createLiveGraph(first: Graph, documents: readonly string[] = []): Promise<LiveGraph> {
  const listeners = new Set<(graph: Graph) => void>();
  // A graph that was replaced is forgotten with the last request that runs on it.
  const graphs = new WeakMap<GraphQLSchema, Graph>([[first.schema, first]]);
  const trusted = documents.map((text) => ({ text, name: undefined }));
  let current = first;
  await warm(first, trusted);

  return {
    current: () => current,
    of(schema) {
      const graph = graphs.get(schema);
      if (!graph) throw new Error("a schema is of a graph that never served");
      return graph;
    },
    onReplace(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    async replace(next) {
      const inUse = current.known();
      await warm(next, [...trusted, ...inUse]);
      // What came up meanwhile.
      const seen = new Set(inUse.map(keyOf));
      await warm(
        next,
        current.known().filter((operation) => !seen.has(keyOf(operation))),
      );
      graphs.set(next.schema, next);
      for (const listener of listeners) listener(next);
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
