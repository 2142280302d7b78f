/**
 * Starts a subgraph: GraphQL over HTTP for the gateway alone, plus liveness, readiness and metrics.
 * It knows who is calling; what a caller may do is each use case's to decide.
 */
import { ApolloServer, type ApolloServerPlugin } from "@apollo/server";
import { unwrapResolverError } from "@apollo/server/errors";
import {
  ApolloServerPluginCacheControlDisabled,
  ApolloServerPluginInlineTraceDisabled,
  ApolloServerPluginUsageReportingDisabled,
} from "@apollo/server/plugin/disabled";
import { fastifyApolloDrainPlugin, fastifyApolloHandler } from "@as-integrations/fastify";
import { IDENTITY_HEADER, REQUEST_ID_HEADER, type Caller, type IdentityVerifier } from "@continuo/access";
import { HTTP_STATUS, isAppError, outcomeOf } from "@continuo/errors";
import { measureOperations, metrics, type Health, type Logger, type OperationMetrics } from "@continuo/process";
import Fastify, {
  LogController,
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
} from "fastify";
import type { DocumentNode } from "graphql";
import { randomUUID } from "node:crypto";
import type { SubgraphContext } from "./context.ts";
import { formatError } from "./format-error.ts";
import { createLocal, type Local } from "./local.ts";
import { isOutage } from "./outage.ts";
import { buildSchema, type SubgraphResolvers } from "./schema.ts";

export interface SubgraphOptions<Context extends SubgraphContext> {
  readonly name: string;
  readonly host: string;
  /** 0 takes a free port. */
  readonly port: number;
  readonly typeDefs: DocumentNode;
  readonly resolvers: SubgraphResolvers;
  readonly identity: IdentityVerifier;
  readonly health: Health;
  readonly logger: Logger;
  /** Adds the service's own things to what every resolver gets; called once a request. */
  readonly context: (base: SubgraphContext) => Context;
  /** How many entities one call may ask for; 10,000 if not said. */
  readonly maxEntities?: number;
  /** Further HTTP routes, among them public ones (JWKS). `callerOf` gives the verified caller of a request. */
  readonly routes?: (http: FastifyInstance, callerOf: (request: FastifyRequest) => Promise<Caller>) => void;
}

export interface Subgraph extends AsyncDisposable {
  /** The same without a network, for a gateway in this process. */
  readonly local: Local;
  /** Where GraphQL is served, for example `http://127.0.0.1:4101/graphql`. */
  readonly url: string;
}

const BODY_LIMIT_BYTES = 1024 * 1024;
/** Longer than any client's keep-alive, so that the gateway never writes into a socket that we are closing. */
const KEEP_ALIVE_MS = 65_000;
const REQUEST_ID = /^[\w-]{1,64}$/;

/** Opens the port and serves. Closing turns readiness off, finishes what is under way, then closes the port. */
export async function startSubgraph<Context extends SubgraphContext>(
  options: SubgraphOptions<Context>,
): Promise<Subgraph> {
  const { name, host, port, identity, health, logger } = options;
  const loggerInstance: FastifyBaseLogger = logger;
  const http = Fastify({
    loggerInstance,
    logController: new LogController({ disableRequestLogging: true }),
    // Each operation has a logger of its own, made with its context; a second one for each request is dear.
    childLoggerFactory: (parent) => parent,
    bodyLimit: BODY_LIMIT_BYTES,
    keepAliveTimeout: KEEP_ALIVE_MS,
    // What arrives on an open connection while we close is still served; the connection ends with it.
    return503OnClosing: false,
    genReqId: (request) => {
      const given = request.headers[REQUEST_ID_HEADER];
      return typeof given === "string" && REQUEST_ID.test(given) ? given : randomUUID();
    },
  });
  await using opening = new AsyncDisposableStack();
  const operations = opening.use(measureOperations(name));
  const apollo = new ApolloServer<Context>({
    schema: buildSchema(options.typeDefs, options.resolvers, options),
    introspection: false,
    includeStacktraceInErrorResponses: false,
    stopOnTerminationSignals: false,
    persistedQueries: false,
    logger: { debug: () => {}, info: () => {}, warn: (text) => logger.warn(text), error: (text) => logger.error(text) },
    formatError,
    plugins: [
      // It would watch every field.
      ApolloServerPluginCacheControlDisabled(),
      ApolloServerPluginInlineTraceDisabled(),
      ApolloServerPluginUsageReportingDisabled(),
      fastifyApolloDrainPlugin(http),
      requestLog(),
      operationMetrics(operations),
    ],
  });
  await apollo.start();
  // Its drain plugin closes `http`, which finishes what is under way.
  opening.defer(async () => apollo.stop());
  let isClosing = false;
  opening.defer(() => {
    isClosing = true;
    health.drain();
  });
  http.addHook("onSend", async (_request, reply) => {
    if (isClosing) void reply.header("connection", "close");
  });

  const callerOf = (request: FastifyRequest): Promise<Caller> => {
    const statement = request.headers[IDENTITY_HEADER];
    return identity.verify(typeof statement === "string" ? statement : undefined);
  };

  http.setErrorHandler((thrown, request, reply) => {
    const fault = asFault(thrown);
    if (fault.status >= 500) request.log.error({ err: thrown, requestId: request.id }, "request failed");
    else {
      const { code, reason } = fault.extensions;
      request.log.info({ code, reason, requestId: request.id }, "refused");
    }
    return reply
      .code(fault.status)
      .send({ errors: [{ message: fault.message, extensions: { ...fault.extensions, requestId: request.id } }] });
  });
  http.setNotFoundHandler((request, reply) =>
    reply.code(404).send({
      errors: [
        {
          message: "There is nothing here.",
          extensions: { code: "NOT_FOUND", reason: "ROUTE_UNKNOWN", requestId: request.id },
        },
      ],
    }),
  );
  http.get("/live", () => ({ live: true }));
  http.get("/ready", async (_request, reply) => {
    const state = await health.ready();
    return reply.code(state.ready ? 200 : 503).send(state);
  });
  http.get("/metrics", async (_request, reply) => reply.type(metrics.contentType).send(await metrics.text()));

  const contextFor = (scope: Omit<SubgraphContext, "logger">): Context =>
    options.context({ ...scope, logger: logger.child({ requestId: scope.requestId }) });
  const callers = new WeakMap<FastifyRequest, Caller>();
  http.post(
    "/graphql",
    {
      // Before the body is read.
      onRequest: async (request) => {
        callers.set(request, await callerOf(request));
      },
    },
    fastifyApolloHandler(apollo, {
      context: async (request, reply) =>
        contextFor({
          caller: callers.get(request) ?? { kind: "anonymous" },
          requestId: request.id,
          ...lifeOf(reply),
        }),
    }),
  );
  options.routes?.(http, callerOf);
  const address = await http.listen({ host, port });
  logger.info({ address }, `${name} is listening`);

  const local = createLocal({ http, apollo, context: contextFor });
  const opened = opening.move();
  return { url: `${address}/graphql`, local, [Symbol.asyncDispose]: async () => opened.disposeAsync() };
}

/** How long an answer is waited for. (Fastify's own `signal` ends with the body of the request.) */
function lifeOf({ raw }: FastifyReply): Required<Pick<SubgraphContext, "signal" | "answered">> {
  const leaving = new AbortController();
  const answered = new Promise<void>((resolve) => {
    raw.once("close", () => {
      if (!raw.writableFinished) leaving.abort();
      resolve();
    });
  });
  return { signal: leaving.signal, answered };
}

function asFault(thrown: unknown): {
  status: number;
  message: string;
  extensions: { code: string; reason: string; details?: unknown };
} {
  if (isAppError(thrown)) {
    const { code, reason, details, message } = thrown;
    return { status: HTTP_STATUS[code], message, extensions: { code, reason, ...(details && { details }) } };
  }
  if (isOutage(thrown))
    return {
      status: HTTP_STATUS.UNAVAILABLE,
      message: "A part of the service cannot be reached right now.",
      extensions: { code: "UNAVAILABLE", reason: "DEPENDENCY_UNAVAILABLE" },
    };
  const status =
    typeof thrown === "object" && thrown !== null && "statusCode" in thrown ? Number(thrown.statusCode) : 500;
  if (status === 413)
    return {
      status,
      message: "The request is too large.",
      extensions: { code: "BAD_USER_INPUT", reason: "BODY_TOO_LARGE" },
    };
  if (status >= 400 && status < 500)
    return {
      status,
      message: "The request is not valid.",
      extensions: { code: "BAD_USER_INPUT", reason: "REQUEST_INVALID" },
    };
  return {
    status: 500,
    message: "Something went wrong on our side.",
    extensions: { code: "INTERNAL_SERVER_ERROR", reason: "UNEXPECTED" },
  };
}

/** One line an operation with its duration; bugs with their cause, which the client never sees. */
function requestLog<Context extends SubgraphContext>(): ApolloServerPlugin<Context> {
  return {
    async requestDidStart() {
      const startedAt = performance.now();
      return {
        async didEncounterErrors({ errors, contextValue }) {
          for (const error of errors) {
            const cause = unwrapResolverError(error);
            if (isAppError(cause))
              contextValue.logger.info({ code: cause.code, reason: cause.reason, err: cause.cause }, cause.message);
            else if (error.originalError) contextValue.logger.error({ err: cause }, "resolver failed");
          }
        },
        async willSendResponse({ operationName, operation, contextValue }) {
          const caller = contextValue.caller;
          contextValue.logger.info(
            {
              operation: operationName ?? operation?.operation,
              ms: Math.round((performance.now() - startedAt) * 10) / 10,
              caller: caller.kind,
              ...(caller.kind === "viewer" && { sessionId: caller.viewer.sessionId }),
            },
            "request",
          );
        },
      };
    },
  };
}

function operationMetrics<Context extends SubgraphContext>(operations: OperationMetrics): ApolloServerPlugin<Context> {
  return {
    async requestDidStart() {
      const end = operations.begin();
      return {
        async willSendResponse({ operation, response: { body } }) {
          end(operation?.operation ?? "none", outcomeOf(body.kind === "single" ? body.singleResult.errors : undefined));
        },
      };
    },
  };
}
