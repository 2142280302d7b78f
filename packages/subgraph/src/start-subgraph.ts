/**
 * Starts a subgraph: GraphQL over HTTP for the gateway only, plus liveness, readiness and metrics.
 * It identifies the caller; each use case decides what the caller may do.
 */
import { fastifyApolloHandler } from "@as-integrations/fastify";
import type { Caller, IdentityVerifier } from "@continuo/access";
import { HTTP_STATUS, isAppError } from "@continuo/errors";
import { cannotListen, measureOperations, metrics, type Health, type Logger } from "@continuo/process";
import Fastify, {
  LogController,
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
} from "fastify";
import type { DocumentNode } from "graphql";
import type { SubgraphContext } from "./context.ts";
import { createAnswer } from "./answer.ts";
import { startApolloServer } from "./apollo.ts";
import { callerOf, requestIdOf } from "./gateway-headers.ts";
import { createLocal, type Local } from "./local.ts";
import { observeOperations } from "./observe-operation.ts";
import { isOutage } from "./outage.ts";
import { createRunOperation } from "./run-operation.ts";
import { buildSchema, type SubgraphResolvers } from "./schema.ts";
import { serveOperations } from "./serve-operations.ts";
import { serveStreams } from "./serve-streams.ts";
import { routeSockets, type SocketRoute } from "./socket-routes.ts";
import { createStreams } from "./streams.ts";

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
  /** Adds the service's own context to what every resolver gets; called once per request. */
  readonly context: (base: SubgraphContext) => Context;
  /** How many entities one call may ask for; default 10,000. */
  readonly maxEntities?: number;
  /** Other HTTP routes, including public ones (JWKS). `callerOf` gives the verified caller of a request. */
  readonly routes?: (http: FastifyInstance, callerOf: (request: FastifyRequest) => Promise<Caller>) => void;
}

export interface Subgraph extends AsyncDisposable {
  /** The same subgraph without a network, for a gateway in this process. */
  readonly local: Local;
  /** Where GraphQL is served, for example `http://127.0.0.1:4101/graphql`. */
  readonly url: string;
}

const BODY_LIMIT_BYTES = 1024 * 1024;
/** Longer than any client's keep-alive, so that the gateway never writes to a socket that we are closing. */
const KEEP_ALIVE_MS = 65_000;

/** Opens the port and serves. Closing turns readiness off, finishes what is under way, then closes the port. */
export async function startSubgraph<Context extends SubgraphContext>(
  options: SubgraphOptions<Context>,
): Promise<Subgraph> {
  const { name, host, port, identity, health, logger } = options;
  const loggerInstance: FastifyBaseLogger = logger;
  const http = Fastify({
    loggerInstance,
    logController: new LogController({ disableRequestLogging: true }),
    // Each operation gets its own logger with its context; another one per request would be expensive.
    childLoggerFactory: (parent) => parent,
    bodyLimit: BODY_LIMIT_BYTES,
    keepAliveTimeout: KEEP_ALIVE_MS,
    // Requests that arrive on an open connection while we close are still served; then the connection ends.
    return503OnClosing: false,
    genReqId: ({ headers }) => requestIdOf(headers),
  });
  await using opening = new AsyncDisposableStack();
  const observe = observeOperations(opening.use(measureOperations(name)));
  const schema = buildSchema(options.typeDefs, options.resolvers, options);
  const run = createRunOperation<Context>(schema);
  const contextFor = (scope: Omit<SubgraphContext, "logger">): Context =>
    options.context({ ...scope, logger: logger.child({ requestId: scope.requestId }) });
  const answer = createAnswer({ run, observe, context: contextFor });
  const apollo = await startApolloServer({ schema, http, answer, observe, logger });
  opening.defer(() => apollo.stop());
  let isClosing = false;
  http.addHook("onSend", (_request, reply, _payload, done) => {
    if (isClosing) void reply.header("connection", "close");
    done();
  });

  http.setErrorHandler((thrown, request, reply) => {
    const fault = asFault(thrown);
    const { code, reason } = fault.extensions;
    if (fault.status >= 500) request.log.error({ err: thrown, requestId: request.id }, "request failed");
    // A stranger, or a gateway with another key or clock: only the cause tells which.
    else if (reason === "INTERNAL_IDENTITY_REQUIRED")
      request.log.warn({ err: thrown, requestId: request.id }, "refused");
    else {
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

  const callers = new WeakMap<FastifyRequest, Caller>();
  http.post(
    "/graphql",
    {
      // Authenticates before the body is read.
      onRequest: async (request) => {
        callers.set(request, await callerOf(identity, request.headers));
      },
    },
    fastifyApolloHandler(apollo, {
      context: async (request, reply) => ({
        caller: callers.get(request) ?? { kind: "anonymous" },
        requestId: request.id,
        ...lifeOf(reply),
      }),
    }),
  );
  const streams = createStreams(schema, contextFor);
  const sockets: SocketRoute[] = [serveOperations({ answer, identity, logger })];
  if (streams.exist) sockets.push(serveStreams({ schema, streams, identity, logger }));
  for (const route of sockets) opening.use(route);
  routeSockets(http.server, sockets);
  // Runs first on closing.
  opening.defer(() => {
    isClosing = true;
    health.drain();
  });
  options.routes?.(http, ({ headers }) => callerOf(identity, headers));
  const address = await http.listen({ host, port }).catch((cause: unknown) => {
    throw cannotListen({ host, port }, cause);
  });
  logger.info({ address }, `${name} is listening`);

  const local = createLocal({ http, answer, streams });
  const opened = opening.move();
  return { url: `${address}/graphql`, local, [Symbol.asyncDispose]: async () => opened.disposeAsync() };
}

/** How long the caller waits for the answer. (Fastify's own `signal` ends with the request's body.) */
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
