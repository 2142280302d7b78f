/**
 * Carries operations to a subgraph and answers back: over shared sockets, over HTTP if no socket is available, or
 * within this process. All it knows of GraphQL is that mutations begin with `mutation`.
 */
import { openOperationSockets, SocketLost } from "@continuo/operation-socket";
import { createGauge, type Logger } from "@continuo/process";
import { isConnectionFault } from "./http-transport.ts";
import { type LocalSubgraph, within } from "./local-subgraph.ts";
import type { Scope } from "./subgraph-client.ts";
import type { SubgraphTransport } from "./transport.ts";

export interface Operation {
  readonly query: string;
  readonly variables?: Record<string, unknown>;
  readonly operationName?: string | undefined;
  /** How long the subgraph is asked to wait for a change, in addition to the normal deadline. Milliseconds. */
  readonly waitMs?: number;
  /**
   * The number of the poke that caused this read: an answer that includes its change is recent enough. Sent only to a
   * subgraph in this process.
   */
  readonly heard?: number | undefined;
}

export interface OperationLink extends AsyncDisposable {
  /** Returns the raw answer, with the HTTP status if it came over HTTP. Rejects if there is none. */
  ask(operation: Operation, scope: Scope): Promise<{ readonly sent: unknown; readonly status?: number }>;
}

const MAX_WAIT_MS = 30_000;
const openSockets = createGauge("continuo_subgraph_sockets", "Sockets for operations that are open to a subgraph.", [
  "subgraph",
]);

/**
 * A link to the subgraph with base URL `url`. A read whose connection breaks is retried over HTTP. A mutation is not,
 * and runs to completion even if the client no longer waits.
 */
export function createRemoteLink(options: {
  name: string;
  url: string;
  transport: SubgraphTransport;
  headersFor: (scope: Scope) => Promise<Record<string, string>>;
  /** The gateway's own identity headers. */
  ownHeaders: () => Promise<Record<string, string>>;
  answerWithinMs: number;
  logger: Logger;
}): OperationLink {
  const { name, url, transport, headersFor, ownHeaders, answerWithinMs, logger } = options;
  const sockets = openOperationSockets({ url, headers: ownHeaders, logger });
  const watching = openSockets.watch(() => [[{ subgraph: name }, sockets.open]]);

  return {
    async ask({ waitMs = 0, heard: _heard, ...asked }, scope) {
      const isChange = isMutation(asked.query);
      const signal = isChange ? undefined : scope.signal;
      const withinMs = answerWithinMs + Math.min(waitMs, MAX_WAIT_MS);
      const waits = waitMs > 0;
      const headers = await headersFor(scope);

      async function overHttp(): Promise<{ readonly sent: unknown; readonly status: number }> {
        const { status, text } = await transport.send({
          method: "POST",
          path: "/graphql",
          headers: { "content-type": "application/json", ...headers },
          body: JSON.stringify(asked),
          withinMs,
          waits,
          signal,
        });
        return { sent: parseJson(text), status };
      }

      // Requests that wait use connections of their own, so they do not take those of others.
      const overSocket = waits ? undefined : sockets.ask(asked, headers, { withinMs, signal });
      try {
        return overSocket ? { sent: await overSocket } : await overHttp();
      } catch (cause) {
        const isLost = cause instanceof SocketLost || isConnectionFault(cause);
        if (isChange || !isLost || signal?.aborted) throw cause;
        return overHttp();
      }
    },
    async [Symbol.asyncDispose]() {
      watching[Symbol.dispose]();
      await sockets[Symbol.asyncDispose]();
    },
  };
}

/** A link to a subgraph in this process. */
export function createLocalLink(subgraph: LocalSubgraph, answerWithinMs: number): OperationLink {
  return {
    async ask({ waitMs = 0, heard, ...asked }, { signal, ...scope }) {
      const sent = await within(
        answerWithinMs + Math.min(waitMs, MAX_WAIT_MS),
        (ending) => subgraph.graphql(asked, { ...scope, signal: ending, heard }),
        isMutation(asked.query) ? undefined : signal,
      );
      return { sent };
    },
    [Symbol.asyncDispose]: async () => undefined,
  };
}

function isMutation(query: string): boolean {
  return query.startsWith("mutation");
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
