/** A subgraph for a gateway in the same process: operations as values, further routes through the same front. */
import type { FastifyInstance } from "fastify";
import type { ExecutionResult } from "graphql";
import type { Readable } from "node:stream";
import type { SubgraphContext } from "./context.ts";
import type { ObserveOperation } from "./observe-operation.ts";
import type { OperationAnswer, OperationRequest, RunOperation } from "./run-operation.ts";
import type { Events, Streams, StreamScope } from "./streams.ts";

interface Route {
  readonly method: "GET" | "POST";
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | undefined;
}

export interface Local {
  /** Runs an operation on behalf of `caller`, who is believed as given. Whoever gets the answer may change it. */
  graphql(request: OperationRequest, scope: StreamScope): Promise<OperationAnswer>;
  /** Runs a subscription likewise; an answer in place of events says why it could not begin. */
  subscribe(request: OperationRequest, scope: StreamScope): Promise<Events | ExecutionResult>;
  /** Any route, with the headers that it would have over HTTP. */
  send(
    request: Route,
  ): Promise<{ readonly status: number; readonly text: string; header(name: string): string | undefined }>;
  /** The same, as it comes. */
  stream(
    request: Pick<Route, "path" | "headers">,
  ): Promise<{ readonly status: number; readonly contentType: string | undefined; readonly body: Readable }>;
}

/** The local side of what `http` serves. */
export function createLocal<Context extends SubgraphContext>(options: {
  http: FastifyInstance;
  run: RunOperation<Context>;
  streams: Streams;
  observe: ObserveOperation;
  context: (scope: Pick<SubgraphContext, "caller" | "requestId" | "signal" | "answered">) => Context;
}): Local {
  const { http, run, streams, observe, context } = options;
  return {
    async graphql(request, { caller, requestId, signal }) {
      const end = observe();
      const answered = Promise.withResolvers<void>();
      const contextValue = context({ caller, requestId, ...(signal && { signal }), answered: answered.promise });
      const kind = request.query.startsWith("mutation") ? "mutation" : "query";
      let errors: OperationAnswer["errors"];
      try {
        const answer = await run(request, contextValue);
        ({ errors } = answer);
        return answer;
      } finally {
        // Whatever happens, who waits for the end of the request hears of it.
        end({ kind, operationName: request.operationName, errors }, contextValue);
        answered.resolve();
      }
    },
    async subscribe(request, scope) {
      const document = streams.read(request);
      return "kind" in document ? streams.begin(document, request, scope) : { errors: document };
    },
    async send({ method, path, headers, body }) {
      const reply = await http.inject({ method, url: path, headers, ...(body !== undefined && { payload: body }) });
      return { status: reply.statusCode, text: reply.payload, header: (name) => reply.headers[name]?.toString() };
    },
    async stream({ path, headers }) {
      const reply = await http.inject({ method: "GET", url: path, headers, payloadAsStream: true });
      return {
        status: reply.statusCode,
        contentType: reply.headers["content-type"]?.toString(),
        body: reply.stream(),
      };
    },
  };
}
