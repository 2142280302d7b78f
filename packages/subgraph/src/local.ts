/** A subgraph for a gateway in the same process: operations as values, other routes without a network. */
import type { FastifyInstance } from "fastify";
import type { ExecutionResult } from "graphql";
import type { Readable } from "node:stream";
import type { Answer, AnswerScope } from "./answer.ts";
import type { OperationAnswer, OperationRequest } from "./run-operation.ts";
import type { Events, Streams, StreamScope } from "./streams.ts";

interface Route {
  readonly method: "GET" | "POST";
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | undefined;
}

export interface Local {
  /** Runs an operation on behalf of `caller`, which is trusted as given. The recipient may mutate the answer. */
  graphql(request: OperationRequest, scope: StreamScope & Pick<AnswerScope, "heard">): Promise<OperationAnswer>;
  /** Runs a subscription likewise; an answer instead of events says why it could not begin. */
  subscribe(request: OperationRequest, scope: StreamScope): Promise<Events | ExecutionResult>;
  /** Requests any route, with the headers that it would have over HTTP. */
  send(
    request: Route,
  ): Promise<{ readonly status: number; readonly text: string; header(name: string): string | undefined }>;
  /** The same, with the body as a stream. */
  stream(
    request: Pick<Route, "path" | "headers">,
  ): Promise<{ readonly status: number; readonly contentType: string | undefined; readonly body: Readable }>;
}

/** The local side of what `http` serves. */
export function createLocal(options: { http: FastifyInstance; answer: Answer; streams: Streams }): Local {
  const { http, answer, streams } = options;
  return {
    async graphql(request, { signal, ...scope }) {
      const answered = Promise.withResolvers<void>();
      try {
        return await answer(request, { ...scope, ...(signal && { signal }), answered: answered.promise });
      } finally {
        // In every case, resolvers that wait for the end of the request must learn of it.
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
