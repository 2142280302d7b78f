/**
 * GraphQL over WebSocket (graphql-transport-ws) for signed-in callers: subscriptions run here, queries and mutations in
 * the ordinary server. The token (or a ticket) is judged at connection_init, the session again with each operation and before each
 * ping. A socket outlives its token only by a fresh one, sent as the payload of a ping.
 */
import type { ApolloServer } from "@apollo/server";
import { AppError, isAppError } from "@continuo/errors";
import type { Logger } from "@continuo/process";
import type { ExecutionArgs, ExecutionResult, FormattedExecutionResult, GraphQLError, GraphQLSchema } from "graphql";
import {
  type Context,
  handleProtocols,
  makeServer,
  MessageType,
  type OperationResult,
  stringifyMessage,
} from "graphql-ws";
import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { type WebSocket, WebSocketServer } from "ws";
import type { Admissions, ViewerAdmission } from "../caller.ts";
import type { GatewayContext } from "../context.ts";
import { formatGraphQLError, sessionEnded, toGraphQLError } from "../errors.ts";
import { withRequestId } from "../request-id.ts";
import { StreamError } from "../subscription/stream-error.ts";
import type { OperationRequest, PreparedOperation, Subscriptions } from "../subscription/subscriptions.ts";
import type { SessionStream, StreamRegistry } from "../revocation/stream-registry.ts";
import { type Connection, createConnection, GOING_AWAY } from "./connection.ts";

export interface SocketServer extends AsyncDisposable {
  /** Takes over an upgraded connection. */
  readonly upgrades: WebSocketServer;
  readonly size: number;
}

/** What is known of a socket while it is open. */
interface SocketState {
  readonly connection: Connection;
  readonly requestIds: Map<string, string>;
  isClosed: boolean;
  session?: { admission: ViewerAdmission; readonly stream: SessionStream };
}

type SocketContext = Context<Record<string, unknown> | undefined, SocketState>;

const MAX_MESSAGE_BYTES = 256 * 1024;
const INIT_WITHIN_MS = 3_000;
const OPERATIONS_PER_SOCKET = 50;
const PING_EVERY_MS = 12_000;
const CLOSE_WITHIN_MS = 2_000;
const CLOSE_BATCH = 200;

export function createSocketServer(options: {
  schema: GraphQLSchema;
  server: ApolloServer<GatewayContext>;
  subscriptions: Subscriptions;
  admissions: Admissions;
  registry: StreamRegistry;
  /** Why a session has ended, as far as is known right now. */
  endReasonOf: (sessionId: string) => string | undefined;
  logger: Logger;
  pingEveryMs?: number | undefined;
}): SocketServer {
  const {
    schema,
    server,
    subscriptions,
    admissions,
    registry,
    endReasonOf,
    logger,
    pingEveryMs = PING_EVERY_MS,
  } = options;
  const upgrades = new WebSocketServer({
    noServer: true,
    maxPayload: MAX_MESSAGE_BYTES,
    perMessageDeflate: false,
    handleProtocols,
  });
  // The protocol server hands back the same objects, which is how each finds what belongs to it.
  const runs = new WeakMap<ExecutionArgs, () => OperationResult>();
  const shaped = new WeakMap<object, FormattedExecutionResult>();

  const protocol = makeServer<Record<string, unknown> | undefined, SocketState>({
    connectionInitWaitTimeout: INIT_WITHIN_MS,
    onConnect: connect,
    onPing: renew,
    onSubscribe: subscribe,
    execute: run,
    subscribe: run,
    onNext: ({ extra }, id, _payload, _args, result) =>
      withRequestId(requestIdOf(extra, id), () => {
        const { data, errors, extensions } = result;
        return (
          shaped.get(result) ?? {
            ...(data !== undefined && { data }),
            ...(errors && { errors: errors.map(formatGraphQLError) }),
            ...(extensions && { extensions }),
          }
        );
      }),
    onError: ({ extra }, id, _payload, errors) =>
      withRequestId(requestIdOf(extra, id), () => errors.flatMap(unwrap).map(formatGraphQLError)),
    onComplete: ({ extra }, id) => void extra.requestIds.delete(id),
  });

  async function connect(context: SocketContext): Promise<boolean> {
    const { connectionParams, extra } = context;
    const admission = await admitBy(admissions, connectionParams);
    const { claims } = admission;
    const ended = endReasonOf(claims.sid);
    if (ended !== undefined) throw sessionEnded(ended);
    if (extra.isClosed) return false;
    // From the check above to here nothing is awaited: a revocation either was seen or finds the socket registered.
    const stream: SessionStream = { session: claims, end: (why) => end(context, why) };
    if (!registry.add(stream))
      throw new AppError("RATE_LIMITED", "TOO_MANY_SOCKETS", "This session has too many sockets.");
    extra.session = { admission, stream };
    extra.connection.expireAt(claims.exp);
    return true;
  }

  /** A ping that brings a fresh token or ticket of the same session keeps the socket open for as long as that one lives. */
  async function renew({ extra }: SocketContext, payload: Record<string, unknown> | undefined): Promise<void> {
    if (!extra.session || !isCredential(payload)) return;
    const admission = await admitBy(admissions, payload);
    const { claims } = admission;
    if (claims.sid !== extra.session.admission.claims.sid)
      throw new AppError("UNAUTHENTICATED", "SESSION_MISMATCH", "This socket belongs to another session.");
    const ended = endReasonOf(claims.sid);
    if (ended !== undefined) throw sessionEnded(ended);
    extra.session.admission = admission;
    extra.connection.expireAt(claims.exp);
  }

  function end({ extra, subscriptions }: SocketContext, why: AppError): void {
    for (const id of Object.keys(subscriptions)) {
      const payload = withRequestId(requestIdOf(extra, id), () => [formatGraphQLError(toGraphQLError(why))]);
      extra.connection.send(stringifyMessage({ id, type: MessageType.Error, payload }));
    }
    extra.connection.closeFor(why);
  }

  async function subscribe(
    { extra, subscriptions: open }: SocketContext,
    id: string,
    payload: OperationRequest,
  ): Promise<ExecutionArgs | readonly GraphQLError[]> {
    const requestId = randomUUID();
    extra.requestIds.set(id, requestId);
    const { session } = extra;
    if (!session) throw new AppError("UNAUTHENTICATED", "SIGN_IN_REQUIRED", "Sign in first.");
    const { caller, claims } = session.admission;
    const log = logger.child({ requestId });
    try {
      if (Object.keys(open).length > OPERATIONS_PER_SOCKET)
        throw new AppError(
          "RATE_LIMITED",
          "TOO_MANY_OPERATIONS",
          `At most ${OPERATIONS_PER_SOCKET} operations at a time.`,
        );
      await admissions.recheck(claims, "READ");
      const prepared = subscriptions.prepare(payload);
      if (!("document" in prepared)) return prepared;
      const context: GatewayContext = {
        caller,
        grant: { grantId: claims.gid, generation: claims.gen },
        session: claims,
        requestId,
        logger: log,
      };
      const args: ExecutionArgs = { schema, document: prepared.document, operationName: payload.operationName ?? null };
      runs.set(args, () => start(prepared, payload, context));
      return args;
    } catch (cause) {
      if (isAppError(cause)) return [toGraphQLError(cause)];
      log.error({ err: cause }, "an operation could not be prepared");
      return [toGraphQLError(new AppError("INTERNAL_SERVER_ERROR", "UNEXPECTED", "Something went wrong on our side."))];
    }
  }

  function start(prepared: PreparedOperation, payload: OperationRequest, context: GatewayContext): OperationResult {
    if (prepared.open) {
      context.logger.info({ operation: payload.operationName ?? "subscription" }, "subscribed");
      return prepared.open(context);
    }
    return withRequestId(context.requestId, async () => {
      const { query, operationName, variables } = payload;
      const answer = await server.executeOperation(
        { query, ...(operationName != null && { operationName }), ...(variables && { variables: { ...variables } }) },
        { contextValue: context },
      );
      const result: ExecutionResult = {};
      if (answer.body.kind === "single") shaped.set(result, answer.body.singleResult);
      return result;
    });
  }

  function run(args: ExecutionArgs): OperationResult {
    const started = runs.get(args);
    if (!started) throw new Error("an operation was not prepared");
    return started();
  }

  /** What a stream threw is its last word; graphql-ws wraps it. */
  function unwrap(error: GraphQLError): readonly GraphQLError[] {
    const { originalError } = error;
    if (originalError instanceof StreamError) return originalError.errors;
    if (isAppError(originalError)) return [toGraphQLError(originalError)];
    if (originalError) logger.error({ err: originalError }, "a subscription failed");
    return [error];
  }

  upgrades.on("connection", (socket: WebSocket) => {
    const state: SocketState = {
      requestIds: new Map(),
      isClosed: false,
      connection: createConnection({
        socket,
        pingEveryMs,
        logger,
        beforePing() {
          const ended = state.session && endReasonOf(state.session.admission.claims.sid);
          if (ended !== undefined) state.session?.stream.end(sessionEnded(ended));
        },
      }),
    };
    const closed = protocol.opened(state.connection.transport, state);
    socket.once("close", (code, reason) => {
      state.isClosed = true;
      if (state.session) registry.remove(state.session.stream);
      closed(code, String(reason)).catch((cause: unknown) =>
        logger.error({ err: cause }, "a socket did not close cleanly"),
      );
    });
  });

  return {
    upgrades,
    get size() {
      return upgrades.clients.size;
    },
    async [Symbol.asyncDispose]() {
      // A little apart, so that not all clients of this replica arrive at the next in one instant.
      const sockets = [...upgrades.clients];
      const allClosed = Promise.all(sockets.map((socket) => new Promise((resolve) => socket.once("close", resolve))));
      for (let from = 0; from < sockets.length; from += CLOSE_BATCH) {
        for (const socket of sockets.slice(from, from + CLOSE_BATCH)) socket.close(GOING_AWAY, "GOING_AWAY");
        if (from + CLOSE_BATCH < sockets.length) await delay(20);
      }
      await Promise.race([allClosed, delay(CLOSE_WITHIN_MS)]);
      for (const socket of upgrades.clients) socket.terminate();
      upgrades.close();
    },
  };
}

/** How a socket says who it is: `authorization` as in the header, or `ticket`. */
interface Credential {
  readonly authorization?: unknown;
  readonly Authorization?: unknown;
  readonly ticket?: unknown;
}

function isCredential(payload: Credential | undefined): payload is Credential {
  return payload?.authorization !== undefined || payload?.Authorization !== undefined || payload?.ticket !== undefined;
}

async function admitBy(admissions: Admissions, given: Credential | undefined): Promise<ViewerAdmission> {
  if (typeof given?.ticket === "string") return admissions.redeem(given.ticket);
  const authorization = given?.authorization ?? given?.Authorization;
  const admission = await admissions.admit(typeof authorization === "string" ? authorization : undefined);
  if (admission.claims) return admission;
  throw new AppError("UNAUTHENTICATED", "SIGN_IN_REQUIRED", "Sign in first.");
}

function requestIdOf({ requestIds }: SocketState, operationId: string): string {
  return requestIds.get(operationId) ?? randomUUID();
}
