/** A subgraph in this process. Its operations need no socket, no text and no signature; its other routes come through its own front. */
import type { Caller } from "@continuo/access";
import type { SubgraphTransport, TransportReply, TransportRequest } from "./transport.ts";

interface LocalRequest {
  readonly query: string;
  readonly variables?: Record<string, unknown>;
  readonly operationName?: string | undefined;
}

interface LocalScope {
  readonly caller: Caller;
  readonly requestId: string;
  readonly signal?: AbortSignal | undefined;
  readonly heard?: number | undefined;
}

interface LocalAnswer {
  readonly data?: Record<string, unknown> | null | undefined;
  readonly errors?: readonly unknown[] | undefined;
}

/** What a subgraph offers to a gateway in the same process (`local` of `@continuo/subgraph`). */
export interface LocalSubgraph {
  /** Runs an operation as `caller`, whom nobody verifies again. The data is the asker's own. */
  graphql(request: LocalRequest, scope: LocalScope): Promise<LocalAnswer>;
  /** Runs a subscription likewise, until it is left by the signal or `return`; an answer instead says why it cannot be. */
  subscribe(request: LocalRequest, scope: LocalScope): Promise<AsyncIterable<LocalAnswer> | LocalAnswer>;
  /** Any other route, as if it had come over HTTP. */
  send(request: Pick<TransportRequest, "method" | "path" | "headers" | "body">): Promise<TransportReply>;
  /** The same, as it comes. */
  stream: SubgraphTransport["stream"];
}

/** Its routes, each with a deadline. */
export function createLocalTransport(subgraph: LocalSubgraph): SubgraphTransport {
  return {
    send: ({ method, path, headers, body, withinMs }) =>
      within(withinMs, () => subgraph.send({ method, path, headers, body })),
    stream: (request) => subgraph.stream(request),
    [Symbol.asyncDispose]: async () => undefined,
  };
}

/**
 * Rejects when the answer takes longer than so many milliseconds. What is under way is told by its signal, as it would be by
 * a connection that breaks: then, and when `gone` says that nobody waits any more.
 */
export async function within<Answer>(
  ms: number,
  ask: (signal: AbortSignal) => Promise<Answer>,
  gone?: AbortSignal,
): Promise<Answer> {
  const late = Promise.withResolvers<never>();
  const ending = new AbortController();
  const end = (): void => ending.abort();
  const timer = setTimeout(() => {
    late.reject(new Error(`no answer within ${ms} ms`));
    end();
  }, ms);
  if (gone?.aborted) end();
  gone?.addEventListener("abort", end, { once: true });
  try {
    return await Promise.race([ask(ending.signal), late.promise]);
  } finally {
    clearTimeout(timer);
    gone?.removeEventListener("abort", end);
  }
}
