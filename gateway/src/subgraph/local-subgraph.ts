/** A subgraph in this process. Its operations need no socket, no text and no signature; its other routes come through its own front. */
import type { Caller } from "@continuo/access";
import type { SubgraphTransport, TransportReply, TransportRequest } from "./transport.ts";

/** What a subgraph offers to a gateway in the same process (`local` of `@continuo/subgraph`). */
export interface LocalSubgraph {
  /** Runs an operation as `caller`, whom nobody verifies again. The data is the asker's own. */
  graphql(
    request: {
      readonly query: string;
      readonly variables?: Record<string, unknown>;
      readonly operationName?: string | undefined;
    },
    scope: { readonly caller: Caller; readonly requestId: string; readonly signal?: AbortSignal | undefined },
  ): Promise<{
    readonly data?: Record<string, unknown> | null | undefined;
    readonly errors?: readonly unknown[] | undefined;
  }>;
  /** Any other route, as if it had come over HTTP. */
  send(request: Pick<TransportRequest, "method" | "path" | "headers" | "body">): Promise<TransportReply>;
  /** The same, as it comes. */
  stream: SubgraphTransport["stream"];
}

/** Its routes, each with a deadline. */
export function createLocalTransport(subgraph: LocalSubgraph): SubgraphTransport {
  return {
    send: ({ method, path, headers, body, withinMs }) =>
      within(withinMs, subgraph.send({ method, path, headers, body })),
    stream: (request) => subgraph.stream(request),
    [Symbol.asyncDispose]: async () => undefined,
  };
}

/** Rejects when `answer` takes longer than so many milliseconds; what is under way goes on. */
export async function within<Answer>(ms: number, answer: Promise<Answer>): Promise<Answer> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new Error(`no answer within ${ms} ms`)), ms);
  try {
    return await Promise.race([answer, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}
