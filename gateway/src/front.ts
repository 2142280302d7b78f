/** The public HTTP server: GraphQL, health, the signing keys, CORS, and authentication of requests. */
import fastifyCors from "@fastify/cors";
import { REQUEST_ID_HEADER } from "@continuo/access";
import { AppError } from "@continuo/errors";
import type { Health, Logger } from "@continuo/process";
import Fastify, {
  LogController,
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
} from "fastify";
import { withNetwork, type Admission, type Admissions } from "./caller.ts";
import type { GatewayContext } from "./context.ts";
import type { Nonces } from "./dpop/nonces.ts";
import { toHttpFault } from "./errors.ts";
import { mediaTypeFor } from "./graphql-over-http/media-type.ts";
import { type Parameters, readBody, readUrl } from "./graphql-over-http/parameters.ts";
import { logRefusal } from "./refusals.ts";
import type { NetworkOf } from "./rate-limit/network.ts";
import { newRequestId } from "./request-id.ts";
import type { Server } from "./server.ts";
import { rewriteUrl, TOKEN_HEADER } from "./sse/address.ts";
import type { TrustedDocuments } from "./trusted-documents/trusted-documents.ts";

const BODY_LIMIT_BYTES = 1024 * 1024;
const GRAPHQL_PATH = "/graphql";
const KEEP_ALIVE_MS = 65_000;
/** A client that sends its request more slowly than this is cut off. */
const HEADERS_WITHIN_MS = 10_000;
const REQUEST_WITHIN_MS = 30_000;
const CHECK_EVERY_MS = 2_000;
/** A client that reads nothing of its answer for this long is cut off; longer than a request may wait for a change. */
const STALLED_AFTER_MS = 60_000;
/** RFC 9449 section 8.2. */
const NONCE_HEADER = "dpop-nonce";
const PREFLIGHT_SECONDS = 600;
/** Headers of Apollo's clients that a page cannot send without a CORS preflight. */
const PREFLIGHTED = ["apollo-require-preflight", "x-apollo-operation-name"];

/** The HTTP server, without the routes that need the graph; not listening yet. */
export async function createFront(options: {
  health: Health;
  nonces: Nonces;
  allowedOrigins: readonly string[];
  logger: Logger;
  stalledAfterMs?: number;
  requestWithinMs?: number;
}): Promise<FastifyInstance> {
  const { health, nonces, allowedOrigins, logger } = options;
  const { stalledAfterMs = STALLED_AFTER_MS, requestWithinMs = REQUEST_WITHIN_MS } = options;
  const loggerInstance: FastifyBaseLogger = logger;
  const http = Fastify({
    loggerInstance,
    logController: new LogController({ disableRequestLogging: true }),
    // A child logger per request is expensive; log lines include the request id instead.
    childLoggerFactory: (parent) => parent,
    rewriteUrl,
    bodyLimit: BODY_LIMIT_BYTES,
    keepAliveTimeout: KEEP_ALIVE_MS,
    requestTimeout: requestWithinMs,
    connectionTimeout: stalledAfterMs,
    http: {
      headersTimeout: Math.min(HEADERS_WITHIN_MS, requestWithinMs),
      connectionsCheckingInterval: Math.min(CHECK_EVERY_MS, requestWithinMs),
    },
    genReqId: newRequestId,
  });
  http.addHook("onRequest", (request, reply, done) => {
    void reply
      .header(REQUEST_ID_HEADER, request.id)
      .header("cache-control", "no-store")
      .header("x-content-type-options", "nosniff");
    done();
  });
  // A request in flight when the server closes must not keep its connection alive, because closing would wait for it.
  http.addHook("onSend", (request, reply, _payload, done) => {
    if (!http.server.listening) void reply.header("connection", "close");
    if (request.headers.dpop !== undefined || isDpopChallenge(reply.getHeader("www-authenticate")))
      void reply.header(NONCE_HEADER, nonces.current());
    done();
  });
  await http.register(fastifyCors, {
    origin: [...allowedOrigins],
    methods: ["GET", "POST", "PUT", "DELETE"],
    allowedHeaders: [
      "authorization",
      "dpop",
      "content-type",
      REQUEST_ID_HEADER,
      "apollo-require-preflight",
      TOKEN_HEADER,
    ],
    exposedHeaders: [REQUEST_ID_HEADER, "www-authenticate", "retry-after", NONCE_HEADER],
    maxAge: PREFLIGHT_SECONDS,
  });
  http.setErrorHandler((thrown, request, reply) => {
    const fault = toHttpFault(thrown, request.id, request.headers.authorization);
    if (fault.status >= 500) request.log.error({ err: thrown, requestId: request.id }, "request failed");
    else logRefusal(request.log, fault.body.errors[0]?.extensions ?? {}, { requestId: request.id });
    // Closing the connection while the client still sends would reset it and lose the answer. The rest of the body is
    // read and discarded instead, for as long as a request may take.
    if (fault.status === 413) reply.removeHeader("connection");
    return reply.code(fault.status).headers(fault.headers).send(fault.body);
  });
  http.setNotFoundHandler(() => {
    throw new AppError("NOT_FOUND", "ROUTE_UNKNOWN", "There is nothing here.");
  });
  http.get("/live", () => ({ live: true }));
  http.get("/ready", async (_request, reply) => {
    const state = await health.ready();
    return reply.code(state.ready ? 200 : 503).send(state);
  });
  return http;
}

/** Serves GraphQL over HTTP; the caller is authenticated before the body is read. */
export function serveGraphQL(
  http: FastifyInstance,
  options: {
    server: Server;
    admissions: Admissions;
    trusted: TrustedDocuments;
    networkOf: NetworkOf;
    logger: Logger;
  },
): void {
  const { server, trusted, networkOf, logger } = options;
  const admitted = new WeakMap<FastifyRequest, Admission>();

  function contextOf(request: FastifyRequest, reply: FastifyReply): GatewayContext {
    const { caller, claims, proof } = admitted.get(request) ?? { caller: { kind: "anonymous" } };
    const network = networkOf(request.raw);
    return {
      caller: withNetwork(caller, network),
      ...(claims && { grant: { grantId: claims.gid, generation: claims.gen }, session: claims }),
      network,
      isPassive: isPrefetch(request),
      ...(proof && { proof }),
      requestId: request.id,
      logger,
      signal: untilGone(reply),
    };
  }

  http.route({
    method: ["GET", "POST"],
    url: GRAPHQL_PATH,
    onRequest: async (request) => {
      admitted.set(request, await admit(options, request, GRAPHQL_PATH));
    },
    async handler(request, reply) {
      const mediaType = mediaTypeFor(request.headers.accept);
      const asked = readParameters(request);
      const operation = { ...asked, query: trusted.textOf(asked) ?? "" };
      const isRead = request.method === "GET";
      const { status, headers, body } = await server.answer(operation, contextOf(request, reply), { isRead });
      return reply.code(status).headers(headers).header("content-type", mediaType).send(JSON.stringify(body));
    },
  });
}

/** Throws BAD_USER_INPUT/REQUEST_INVALID. */
function readParameters(request: FastifyRequest): Parameters {
  if (couldBeForged(request))
    throw new AppError(
      "BAD_USER_INPUT",
      "REQUEST_INVALID",
      "Any page can have a browser send this (CSRF): post JSON, or send a header apollo-require-preflight.",
    );
  return request.method === "GET" ? readUrl(request.query) : readBody(request.body);
}

/** Whether a browser would send this request for any page without a preflight (Fetch standard, section 2.2.2). */
function couldBeForged({ headers }: FastifyRequest): boolean {
  const [type = ""] = headers["content-type"]?.split(";") ?? [];
  if (type.trim().toLowerCase() === "application/json") return false;
  return !PREFLIGHTED.some((name) => headers[name]);
}

/**
 * Aborted when the client disconnects before it has its answer. (Fastify's own `signal` aborts at the end of the
 * request's body.)
 */
function untilGone({ raw }: FastifyReply): AbortSignal {
  const leaving = new AbortController();
  raw.once("close", () => {
    if (!raw.writableFinished) leaving.abort();
  });
  return leaving.signal;
}

/** Authenticates the sender of a request that arrived at `path`. */
export function admit(
  { admissions, networkOf }: { admissions: Admissions; networkOf: NetworkOf },
  request: FastifyRequest,
  path: string,
): Promise<Admission> {
  const { method, headers } = request;
  const proof = headers.dpop === undefined ? undefined : String(headers.dpop);
  const network = networkOf(request.raw);
  return admissions.admit(headers.authorization, proof === undefined ? undefined : { method, path, proof, network });
}

/** Browsers mark prefetches (Fetch standard, section 4.6). */
function isPrefetch({ headers }: FastifyRequest): boolean {
  return String(headers["sec-purpose"] ?? "").startsWith("prefetch");
}

function isDpopChallenge(challenge: unknown): boolean {
  return typeof challenge === "string" && challenge.startsWith("DPoP ");
}

/** Serves the public signing keys with the owner's cache lifetime. Concurrent requests share one call to the owner. */
export function serveKeys(
  http: FastifyInstance,
  path: string,
  read: () => Promise<{ body: string; cacheControl: string | undefined }>,
): void {
  let reading: ReturnType<typeof read> | undefined;
  http.get(path, async (_request, reply) => {
    reading ??= read().finally(() => {
      reading = undefined;
    });
    const { body, cacheControl } = await reading;
    return reply
      .headers({ "content-type": "application/json", "cache-control": cacheControl ?? "no-store" })
      .send(body);
  });
}
