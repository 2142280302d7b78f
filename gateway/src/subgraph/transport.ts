/** The transport to a subgraph: over HTTP, or in this process. Independent of callers and operations. */
import type { Readable } from "node:stream";

export interface TransportRequest {
  readonly method: "GET" | "POST";
  /** Relative to the subgraph's base URL. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | undefined;
  /** The deadline for the whole response. Milliseconds. */
  readonly withinMs: number;
  /** Whether the subgraph is asked to wait for a change. */
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
  /** Rejects if there is no response; throws RATE_LIMITED/TOO_MANY_WAIT if too many requests wait already. */
  send(request: TransportRequest): Promise<TransportReply>;
  /** Streams a response that may be long. */
  stream(
    request: Pick<TransportRequest, "path" | "headers">,
  ): Promise<{ readonly status: number; readonly contentType: string | undefined; readonly body: Readable }>;
}
