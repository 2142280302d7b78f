/**
 * A subgraph in this process. Its operations need no socket, serialization or signature; its other routes go through
 * its own HTTP handlers.
 */
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

/** A subgraph's interface to a gateway in the same process (`local` of `@continuo/subgraph`). */
export interface LocalSubgraph {
  /** Runs an operation as `caller`, without verifying it. The gateway owns the returned data. */
  graphql(request: LocalRequest, scope: LocalScope): Promise<LocalAnswer>;
  /**
   * Runs a subscription in the same way, until the signal aborts or `return` is called; returns an answer instead if it
   * cannot start.
   */
  subscribe(request: LocalRequest, scope: LocalScope): Promise<AsyncIterable<LocalAnswer> | LocalAnswer>;
  /** Requests any other route, as over HTTP. */
  send(request: Pick<TransportRequest, "method" | "path" | "headers" | "body">): Promise<TransportReply>;
  /** Requests a route and streams its response. */
  stream: SubgraphTransport["stream"];
}

/** A transport to its routes; only `send` has a deadline. */
export function createLocalTransport(subgraph: LocalSubgraph): SubgraphTransport {
  return {
    send: ({ method, path, headers, body, withinMs }) =>
      within(withinMs, () => subgraph.send({ method, path, headers, body })),
    stream: (request) => subgraph.stream(request),
    [Symbol.asyncDispose]: async () => undefined,
  };
}

/**
 * Rejects if `ask` takes longer than `ms` milliseconds. The signal passed to `ask` then aborts, as it would when a
 * connection breaks; it also aborts when `gone` does, because the client no longer waits.
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
