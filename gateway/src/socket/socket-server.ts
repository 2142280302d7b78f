/**
 * GraphQL over WebSocket (graphql-transport-ws) for signed-in callers. The token or ticket is judged at
 * `connection_init`, the session again with each operation and before each ping. A socket outlives its token only by a
 * fresh one of the same session, sent in a ping: the pong says for how many seconds it is good.
 */
import { REQUEST_ID_HEADER } from "@continuo/access";
import { AppError } from "@continuo/errors";
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
import type { IncomingMessage } from "node:http";
import { setTimeout as delay } from "node:timers/promises";
import { type WebSocket, WebSocketServer } from "ws";
import type { Admissions, ViewerAdmission } from "../caller.ts";
import { formatGraphQLError, sessionEnded, toGraphQLError } from "../errors.ts";
import {
  type Operation,
  type Operations,
  OPERATIONS_PER_STREAM,
  toFormatted,
  toJson,
  tooManyOperations,
} from "../operations.ts";
import type { NetworkOf } from "../rate-limit/network.ts";
import type { RateLimits } from "../rate-limit/rate-limits.ts";
import { upgradeIdOf, withRequestId } from "../request-id.ts";
import type { RevocationSet } from "../revocation/revocation-set.ts";
import type { SessionStream, StreamRegistry } from "../revocation/stream-registry.ts";
import { countEvent } from "../stream-metrics.ts";
import { lastWords } from "../subscription/stream-error.ts";
import type { OperationRequest } from "../subscription/run.ts";
import { type Connection, createConnection } from "./connection.ts";
import { admitBy, isCredential } from "./credential.ts";
import { never, untilLeft } from "./leaving.ts";

export interface SocketServer extends AsyncDisposable {
  /** Takes over an upgraded connection. */
  readonly upgrades: WebSocketServer;
  readonly size: number;
}

type Payload = Record<string, unknown> | undefined;

/** What is known of a socket while it is open. */
interface SocketState {
  readonly connection: Connection;
  readonly requestIds: Map<string, string>;
  readonly network: string | undefined;
  session?: { admission: ViewerAdmission; readonly stream: SessionStream };
}

type SocketContext = Context<Payload, SocketState>;

/** An operation, until its client ends it: its id may be another's from then on. */
interface Run {
  readonly operation: Operation;
  readonly send: (event: ExecutionResult) => Promise<void>;
  readonly isLeft: () => boolean;
  readonly onLeft: () => void;
}

const SOCKET = { transport: "SOCKET" } as const;
const MAX_MESSAGE_BYTES = 256 * 1024;
const INIT_WITHIN_MS = 3_000;
const PING_EVERY_MS = 12_000;
const CLOSE_WITHIN_MS = 2_000;
const CLOSE_BATCH = 200;

export function createSocketServer(options: {
  schema: () => GraphQLSchema;
  operations: Operations;
  admissions: Admissions;
  registry: StreamRegistry;
  revocations: Pick<RevocationSet, "endReasonOf">;
  rates: Pick<RateLimits, "connection">;
  networkOf: NetworkOf;
  logger: Logger;
  pingEveryMs?: number | undefined;
}): SocketServer {
  const { schema, operations, admissions, registry, revocations, rates, networkOf, logger } = options;
  const { pingEveryMs = PING_EVERY_MS } = options;
  const upgrades = new WebSocketServer({
    noServer: true,
    maxPayload: MAX_MESSAGE_BYTES,
    perMessageDeflate: false,
    handleProtocols,
  });
  // The protocol server hands back the same objects, which is how each finds what belongs to it.
  const runs = new WeakMap<ExecutionArgs, Run>();
  const answers = new WeakMap<object, FormattedExecutionResult>();
  const connections = new WeakMap<WebSocket, Connection>();

  const protocol = makeServer<Payload, SocketState>({
    connectionInitWaitTimeout: INIT_WITHIN_MS,
    onConnect: connect,
    onSubscribe: subscribe,
    execute: run,
    subscribe: run,
    onNext: ({ extra }, id, _payload, _args, result) =>
      withRequestId(requestIdOf(extra, id), () => answers.get(result) ?? toFormatted(result)),
    onError({ extra }, id, _payload, errors) {
      const requestId = requestIdOf(extra, id);
      // What could not begin is never completed.
      extra.requestIds.delete(id);
      return withRequestId(requestId, () =>
        // What a stream threw comes wrapped.
        errors
          .flatMap((error) => (error.originalError ? lastWords(error.originalError, logger) : [error]))
          .map(formatGraphQLError),
      );
    },
    onComplete: ({ extra }, id) => void extra.requestIds.delete(id),
  });

  async function connect(context: SocketContext): Promise<boolean> {
    const { connectionParams, extra } = context;
    const session = { admission: await admitBy(admissions, connectionParams), stream: streamOf(context) };
    await rates.connection({ sessionId: session.admission.claims.sid });
    const { connection } = extra;
    // One that closed meanwhile would never be taken out of the registry.
    if (!connection.isOpen) return false;
    extra.session = session;
    registry.add(session.stream);
    connection.expireAt(session.admission.claims.exp);
    return true;
  }

  function streamOf({ extra, subscriptions }: SocketContext): SessionStream {
    const { connection } = extra;
    return {
      ...SOCKET,
      get session() {
        if (!extra.session) throw new Error("a socket is registered once it has a session");
        return extra.session.admission.claims;
      },
      end(why) {
        if (!connection.isOpen) return false;
        for (const id of Object.keys(subscriptions)) {
          const payload = withRequestId(requestIdOf(extra, id), () => [formatGraphQLError(toGraphQLError(why))]);
          connection.send(stringifyMessage({ id, type: MessageType.Error, payload }));
        }
        connection.closeFor(why);
        return true;
      },
    };
  }

  /** What a ping is answered with; one that brings a credential keeps the socket open for as long as that one is good. */
  async function renew({ session, connection }: SocketState, payload: Payload): Promise<Payload> {
    if (!isCredential(payload)) return payload;
    if (!session) return undefined;
    const admission = await admitBy(admissions, payload);
    const { sid, exp } = admission.claims;
    if (sid !== session.admission.claims.sid)
      throw new AppError("UNAUTHENTICATED", "SESSION_MISMATCH", "This socket belongs to another session.");
    session.admission = admission;
    connection.expireAt(exp);
    return { expiresIn: Math.max(0, exp - Math.floor(Date.now() / 1000)) };
  }

  async function subscribe(
    context: SocketContext,
    id: string,
    payload: OperationRequest,
  ): Promise<ExecutionArgs | readonly GraphQLError[]> {
    const { extra } = context;
    const requestId = randomUUID();
    const isCurrent = (): boolean => extra.requestIds.get(id) === requestId;
    const isLeft = (): boolean => !(id in context.subscriptions && isCurrent());
    const onLeft = (): void => void (isCurrent() && extra.requestIds.delete(id));
    extra.requestIds.set(id, requestId);
    if (Object.keys(context.subscriptions).length > OPERATIONS_PER_STREAM) return [toGraphQLError(tooManyOperations())];
    // The protocol server takes no operation before connection_init.
    if (!extra.session) throw new Error("an operation came before its session");
    const operation = await operations.prepare(payload, {
      admission: extra.session.admission,
      requestId,
      network: extra.network,
    });
    if (isLeft()) {
      onLeft();
      return never();
    }
    if (!("document" in operation)) return operation;
    const args = { schema: schema(), document: operation.document, operationName: payload.operationName ?? null };
    const head = `{"id":${JSON.stringify(id)},"type":"${MessageType.Next}","payload":`;
    const send = (event: ExecutionResult): Promise<void> => {
      countEvent(SOCKET);
      const json = event.errors ? withRequestId(requestId, () => toJson(event)) : toJson(event);
      return extra.connection.transport.send(`${head}${json}}`);
    };
    runs.set(args, { operation, send, isLeft, onLeft });
    return args;
  }

  async function run(args: ExecutionArgs): Promise<Awaited<OperationResult>> {
    const started = runs.get(args);
    if (!started) throw new Error("an operation was not prepared");
    const { operation, isLeft, onLeft } = started;
    const outcome = await ("open" in operation ? operation.open() : operation.answer());
    if (isLeft()) {
      onLeft();
      if ("next" in outcome) await outcome.return?.();
      return never();
    }
    // The protocol server would write each event anew for each socket.
    if ("next" in outcome) return untilLeft(outcome, started);
    const result: ExecutionResult = {};
    answers.set(result, outcome);
    return result;
  }

  upgrades.on("headers", (headers, request) => headers.push(`${REQUEST_ID_HEADER}: ${upgradeIdOf(request)}`));
  upgrades.on("connection", (socket: WebSocket, request: IncomingMessage) => {
    const state: SocketState = {
      requestIds: new Map(),
      network: networkOf(request),
      connection: createConnection({
        socket,
        pingEveryMs,
        requestId: upgradeIdOf(request),
        logger,
        answerPing: (payload) => renew(state, payload),
        beforePing() {
          const endReason = state.session && revocations.endReasonOf(state.session.admission.claims.sid);
          if (endReason !== undefined) state.session?.stream.end(sessionEnded(endReason));
        },
      }),
    };
    connections.set(socket, state.connection);
    const closed = protocol.opened(state.connection.transport, state);
    socket.once("close", (code, reason) => {
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
        for (const socket of sockets.slice(from, from + CLOSE_BATCH)) connections.get(socket)?.goAway();
        if (from + CLOSE_BATCH < sockets.length) await delay(20);
      }
      await Promise.race([allClosed, delay(CLOSE_WITHIN_MS)]);
      for (const socket of upgrades.clients) socket.terminate();
      upgrades.close();
    },
  };
}

function requestIdOf({ requestIds }: SocketState, operationId: string): string {
  return requestIds.get(operationId) ?? randomUUID();
}
