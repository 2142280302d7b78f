/** How a subgraph is reached: over HTTP, or in this process. Knows neither who asks nor what. */
import type { Readable } from "node:stream";

export interface TransportRequest {
  readonly method: "GET" | "POST";
  /** From the subgraph's base on. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | undefined;
  /** How long an answer may take. Milliseconds. */
  readonly withinMs: number;
  /** Whether the subgraph is asked to wait for something to tell. */
  readonly waits?: boolean;
  readonly signal?: AbortSignal | undefined;
}

export interface TransportReply {
  readonly status: number;
  readonly text: string;
  /** By name in lower case. */
  readonly header: (name: string) => string | undefined;
}

export interface SubgraphTransport extends AsyncDisposable {
  /** Rejects when there is no answer; throws RATE_LIMITED/TOO_MANY_WAIT when too many wait already. */
  send(request: TransportRequest): Promise<TransportReply>;
  /** Reads what may be long, as it comes. */
  stream(
    request: Pick<TransportRequest, "path" | "headers">,
  ): Promise<{ readonly status: number; readonly contentType: string | undefined; readonly body: Readable }>;
}
