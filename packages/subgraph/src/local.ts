/** A subgraph for a gateway in the same process: operations as values, further routes through the same front. */
import type { ApolloServer } from "@apollo/server";
import type { Caller } from "@continuo/access";
import type { FastifyInstance } from "fastify";
import type { GraphQLFormattedError } from "graphql";
import type { Readable } from "node:stream";
import type { SubgraphContext } from "./context.ts";

interface Route {
  readonly method: "GET" | "POST";
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | undefined;
}

export interface Local {
  /** Runs an operation on behalf of `caller`, who is believed as given. Whoever gets the answer may change it. */
  graphql(
    request: {
      readonly query: string;
      readonly variables?: Record<string, unknown>;
      readonly operationName?: string | undefined;
    },
    scope: { readonly caller: Caller; readonly requestId: string; readonly signal?: AbortSignal | undefined },
  ): Promise<{ readonly data?: Record<string, unknown> | null; readonly errors?: readonly GraphQLFormattedError[] }>;
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
  apollo: ApolloServer<Context>;
  context: (scope: Pick<SubgraphContext, "caller" | "requestId" | "signal" | "answered">) => Context;
}): Local {
  const { http, apollo, context } = options;
  return {
    async graphql({ query, variables, operationName }, { caller, requestId, signal }) {
      const answered = Promise.withResolvers<void>();
      try {
        const { body } = await apollo.executeOperation(
          { query, ...(variables && { variables }), ...(operationName !== undefined && { operationName }) },
          { contextValue: context({ caller, requestId, ...(signal && { signal }), answered: answered.promise }) },
        );
        if (body.kind === "incremental") throw new Error("a subgraph answers at once");
        return body.singleResult;
      } finally {
        answered.resolve();
      }
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
