/**
 * GraphQL over server-sent events for signed-in callers, an operation a request (the distinct connections mode of the
 * GraphQL over SSE protocol). Its server library is not used: it has no place to look at the session before it pings, and
 * reads ahead of a slow client without bound.
 */
import { AppError } from "@continuo/errors";
import type { Logger } from "@continuo/process";
import type { FastifyInstance, FastifyRequest } from "fastify";
import { type DocumentNode, getOperationAST, type GraphQLError, OperationTypeNode } from "graphql";
import { z } from "zod";
import type { Admissions, ViewerAdmission } from "../caller.ts";
import { formatGraphQLError, sessionEnded } from "../errors.ts";
import { admit } from "../front.ts";
import { type Operation, type Operations, toFormatted } from "../operations.ts";
import type { NetworkOf } from "../rate-limit/network.ts";
import type { RateLimits } from "../rate-limit/rate-limits.ts";
import { withRequestId } from "../request-id.ts";
import type { RevocationSet } from "../revocation/revocation-set.ts";
import type { SessionStream, StreamRegistry } from "../revocation/stream-registry.ts";
import { lastWords } from "../subscription/stream-error.ts";
import { createEventStream, type EventStream } from "./event-stream.ts";

const PATH = "/graphql/stream";
const PING_EVERY_MS = 12_000;

const Variables = z.record(z.string(), z.unknown());
const Body = z.object({
  query: z.string().default(""),
  documentId: z.string().optional(),
  extensions: z.unknown().optional(),
  operationName: z.string().nullish(),
  variables: Variables.nullish(),
});
/** GraphQL over HTTP, section 5.1: in a URL the variables are JSON. */
const Url = Body.extend({
  variables: z
    .string()
    .transform((text, context) => {
      try {
        return Variables.parse(JSON.parse(text));
      } catch {
        context.addIssue("not a JSON object");
        return z.NEVER;
      }
    })
    .optional(),
});
const Ticket = z.object({ ticket: z.string().optional() });

/**
 * Serves GET and POST /graphql/stream. A caller without headers (a browser's EventSource) comes with `?ticket=`. Closing
 * tells open streams to come back elsewhere.
 */
export function serveEventStreams(
  http: FastifyInstance,
  options: {
    operations: Operations;
    admissions: Admissions;
    registry: StreamRegistry;
    revocations: Pick<RevocationSet, "endReasonOf">;
    rates: Pick<RateLimits, "connection">;
    networkOf: NetworkOf;
    logger: Logger;
    pingEveryMs?: number | undefined;
  },
): Disposable {
  const {
    operations,
    admissions,
    registry,
    revocations,
    rates,
    networkOf,
    logger,
    pingEveryMs = PING_EVERY_MS,
  } = options;
  const admitted = new WeakMap<FastifyRequest, ViewerAdmission>();
  const open = new Set<EventStream>();

  /** Opens one. Throws as `StreamRegistry.add` does. */
  function start({ claims }: ViewerAdmission, requestId: string): EventStream {
    const session: SessionStream = { session: claims, end: (why) => withRequestId(requestId, () => stream.fail(why)) };
    const stream = createEventStream({
      exp: claims.exp,
      pingEveryMs,
      beforePing() {
        const endReason = revocations.endReasonOf(claims.sid);
        if (endReason !== undefined) session.end(sessionEnded(endReason));
      },
    });
    try {
      registry.add(session);
    } catch (cause) {
      stream.body.destroy();
      throw cause;
    }
    open.add(stream);
    stream.signal.addEventListener("abort", () => {
      registry.remove(session);
      open.delete(stream);
    });
    return stream;
  }

  async function run(stream: EventStream, operation: Operation): Promise<void> {
    const { signal } = stream;
    if ("answer" in operation) {
      await stream.next(await operation.answer(signal));
      return stream.complete();
    }
    const events = await operation.open(signal);
    if (signal.aborted) return void (await events.return?.());
    signal.addEventListener("abort", () => void events.return?.());
    for await (const event of events) await stream.next(toFormatted(event));
    stream.complete();
  }

  function refuse(stream: EventStream, errors: readonly GraphQLError[]): void {
    void stream.next({ errors: errors.map(formatGraphQLError) });
    stream.complete();
  }

  http.route({
    method: ["GET", "POST"],
    url: PATH,
    async onRequest(request) {
      if (!request.headers.accept?.includes("text/event-stream")) throw invalid("Accept must be text/event-stream.");
      const { ticket } = parse(Ticket, request.query);
      const admission = await (ticket === undefined ? admit(admissions, request, PATH) : admissions.redeem(ticket));
      if (!admission.claims) throw new AppError("UNAUTHENTICATED", "SIGN_IN_REQUIRED", "Sign in first.");
      admitted.set(request, admission);
    },
    async handler(request, reply) {
      const admission = admitted.get(request);
      if (!admission) throw new Error("an event stream is opened by somebody");
      const { id: requestId, method } = request;
      const asked = method === "GET" ? parse(Url, request.query) : parse(Body, request.body);
      if (asked.query === "" && asked.documentId === undefined && asked.extensions === undefined) throw incomplete();
      await rates.connection({ sessionId: admission.claims.sid });
      const operation = await operations.prepare(asked, { admission, requestId, network: networkOf(request.raw) });
      if ("document" in operation && method === "GET" && isMutation(operation.document, asked.operationName))
        return reply.code(405).header("allow", "POST").send();
      const stream = start(admission, requestId);
      withRequestId(requestId, () => {
        if (!("document" in operation)) return refuse(stream, operation);
        run(stream, operation).catch((thrown: unknown) =>
          refuse(stream, lastWords(thrown, logger.child({ requestId }))),
        );
      });
      // A connection that is kept for the next request would hold up a gateway that is going away.
      return reply
        .headers({
          "content-type": "text/event-stream; charset=utf-8",
          "x-accel-buffering": "no",
          connection: "close",
        })
        .send(stream.body);
    },
  });

  return {
    [Symbol.dispose]() {
      for (const stream of open) stream.interrupt("GOING_AWAY");
    },
  };
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
