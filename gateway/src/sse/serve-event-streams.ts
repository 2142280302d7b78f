/**
 * Operations with responses streamed over HTTP, for signed-in callers: one operation per request (the distinct
 * connections mode of GraphQL over SSE, or Apollo's multipart), or several on one event stream (the single connection
 * mode). The server library of graphql-sse is not used: it cannot say why a stream ends, makes guessable tokens with
 * Math.random, never expires reservations, and buffers without bound for a slow client.
 */
import { AppError } from "@continuo/errors";
import type { Logger } from "@continuo/process";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { type DocumentNode, getOperationAST, type GraphQLError, OperationTypeNode } from "graphql";
import { z } from "zod";
import type { Admissions, ViewerAdmission } from "../caller.ts";
import { formatGraphQLErrors } from "../errors.ts";
import { admit } from "../front.ts";
import { readBody, readUrl } from "../graphql-over-http/parameters.ts";
import type { Operations, Sender } from "../operations.ts";
import type { NetworkOf } from "../rate-limit/network.ts";
import type { RateLimits } from "../rate-limit/rate-limits.ts";
import type { StreamRegistry } from "../revocation/stream-registry.ts";
import { isRecord } from "../subgraph/subgraph-error.ts";
import { lastWords } from "../subscription/stream-error.ts";
import { STREAM_PATH, TOKEN_HEADER } from "./address.ts";
import type { EventStream } from "./event-stream.ts";
import { EVENT_STREAM, type Framing, framingOf } from "./framing.ts";
import { createOpenStreams, runOperation } from "./open-streams.ts";
import { createReservations } from "./reservations.ts";

const Search = z.object({
  ticket: z.string().optional(),
  token: z.string().optional(),
  operationId: z.string().optional(),
});
const OperationId = z.string().min(1).max(128);

/**
 * Serves /graphql/stream: GET and POST, and PUT and DELETE for the single connection mode. A caller that cannot send
 * headers (a browser's EventSource) uses `?ticket=`, or `?token=` for a stream that it has reserved. Disposal tells the
 * clients of open streams to reconnect elsewhere.
 */
export function serveEventStreams(
  http: FastifyInstance,
  options: {
    operations: Operations;
    admissions: Admissions;
    registry: StreamRegistry;
    rates: Pick<RateLimits, "connection">;
    networkOf: NetworkOf;
    logger: Logger;
    pingEveryMs?: number | undefined;
  },
): Disposable {
  const { operations, admissions, rates, networkOf, logger } = options;
  const admitted = new WeakMap<FastifyRequest, ViewerAdmission>();
  const streams = createOpenStreams(options);
  const reservations = createReservations({ streams, logger });

  /** Authenticates the caller before the body is read. */
  async function admitRequest(request: FastifyRequest): Promise<void> {
    const { ticket } = parse(Search, request.query);
    const admission = await (ticket === undefined
      ? admit(options, request, pathOf(request))
      : admissions.redeem(ticket));
    if (!admission.claims) throw new AppError("UNAUTHENTICATED", "SIGN_IN_REQUIRED", "Sign in first.");
    admitted.set(request, admission);
  }

  function senderOf(request: FastifyRequest): Sender {
    const admission = admitted.get(request);
    if (!admission) throw new Error("a request is served once it was admitted");
    return { admission, requestId: request.id, network: networkOf(request.raw) };
  }

  /** Streams one operation in the response. */
  async function answer(request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
    const sender = senderOf(request);
    const { claims } = sender.admission;
    const { id: requestId, method } = request;
    const asked = method === "GET" ? readUrl(request.query) : readBody(request.body);
    await rates.connection({ sessionId: claims.sid });
    const operation = await operations.prepare(asked, sender);
    if ("document" in operation && method === "GET" && isMutation(operation.document, asked.operationName))
      return reply.code(405).header("allow", "POST").send();
    const framing = framingFor(request);
    const { transport, next, complete } = framing;
    const stream = streams.open(claims, { framing, requestId, lastWords: (why) => framing.fault(why) + complete });
    const refuse = (errors: readonly GraphQLError[]): void => {
      const told = JSON.stringify({ errors: formatGraphQLErrors(errors, requestId) });
      stream.end(next(told) + complete, "COMPLETE");
    };
    if ("document" in operation) {
      const running = { transport, requestId, next: (result: string) => stream.send(next(result)) };
      runOperation(operation, stream.signal, running).then(
        () => stream.end(complete, "COMPLETE"),
        (thrown: unknown) => refuse(lastWords(thrown, logger.child({ requestId }))),
      );
    } else refuse(operation);
    return streamed(reply, framing, stream);
  }

  /** Accepts an operation for a stream that another request fetches. */
  async function accept(request: FastifyRequest, reply: FastifyReply, token: string): Promise<FastifyReply> {
    const sender = senderOf(request);
    const asked = readBody(request.body);
    const operationId = parse(OperationId, isRecord(asked.extensions) ? asked.extensions["operationId"] : undefined);
    const reservation = reservations.find(token, sender.admission);
    // Errors are sent over the stream too: stock clients take any other status as a broken stream, and abandon it with
    // everything that runs on it.
    await reservation.run(operationId, () => operations.prepare(asked, sender), request.id);
    return reply.code(202).send();
  }

  http.route({
    method: "GET",
    url: STREAM_PATH,
    async onRequest(request) {
      const token = tokenOf(request);
      if (token === undefined) framingFor(request);
      if (token === undefined || request.headers.authorization !== undefined) await admitRequest(request);
    },
    handler(request, reply) {
      const token = tokenOf(request);
      if (token === undefined) return answer(request, reply);
      if (admitted.has(request)) reservations.find(token, senderOf(request).admission);
      return streamed(reply, EVENT_STREAM, reservations.fetch(token));
    },
  });

  http.route({
    method: "POST",
    url: STREAM_PATH,
    async onRequest(request) {
      if (tokenOf(request) === undefined) framingFor(request);
      await admitRequest(request);
    },
    handler(request, reply) {
      const token = tokenOf(request);
      return token === undefined ? answer(request, reply) : accept(request, reply, token);
    },
  });

  http.route({
    method: "PUT",
    url: STREAM_PATH,
    onRequest: admitRequest,
    async handler(request, reply) {
      const { admission, requestId } = senderOf(request);
      await rates.connection({ sessionId: admission.claims.sid });
      const token = reservations.reserve(admission, requestId);
      return reply.code(201).type("text/plain; charset=utf-8").send(token);
    },
  });

  http.route({
    method: "DELETE",
    url: STREAM_PATH,
    onRequest: admitRequest,
    async handler(request, reply) {
      const operationId = parse(OperationId, parse(Search, request.query).operationId);
      reservations.find(tokenOf(request) ?? "", senderOf(request).admission).stop(operationId);
      return reply.code(200).send();
    },
  });

  return streams;
}

/** The path the client requested, as its DPoP proof names it; `/graphql` may be rewritten to this route. */
function pathOf({ originalUrl }: FastifyRequest): string {
  return originalUrl.replace(/\?.*$/, "");
}

function tokenOf({ headers, query }: FastifyRequest): string | undefined {
  return headers[TOKEN_HEADER]?.toString() ?? parse(Search, query).token;
}

/** This route serves only streams, so text/event-stream may stand anywhere in Accept. */
function framingFor({ headers: { accept = "" } }: FastifyRequest): Framing {
  const framing = framingOf(accept) ?? (accept.includes("text/event-stream") ? EVENT_STREAM : undefined);
  if (!framing) throw invalid("Accept must be text/event-stream, or multipart/mixed;subscriptionSpec=1.0.");
  return framing;
}

function streamed(reply: FastifyReply, { contentType }: Framing, stream: EventStream): FastifyReply {
  stream.attachResponse(reply.raw);
  return reply
    .headers({
      "content-type": contentType,
      "x-accel-buffering": "no",
      // A kept-alive connection would delay a gateway that is shutting down.
      connection: "close",
    })
    .send(stream.body);
}

function isMutation(document: DocumentNode, operationName: string | null | undefined): boolean {
  return getOperationAST(document, operationName)?.operation === OperationTypeNode.MUTATION;
}

function parse<Shape extends z.ZodType>(shape: Shape, given: unknown): z.infer<Shape> {
  const parsed = shape.safeParse(given);
  if (parsed.success) return parsed.data;
  throw incomplete();
}

function incomplete(): AppError {
  return invalid("The request must have a query, and variables that are an object.");
}

function invalid(message: string): AppError {
  return new AppError("BAD_USER_INPUT", "REQUEST_INVALID", message);
}
