/**
 * Streams over a socket (graphql-transport-ws), for the gateway only: `connection_init` carries its signed statement,
 * and each ping a fresh one about the same caller. A socket without a fresh one for a minute is closed.
 */
import type { IdentityVerifier } from "@continuo/access";
import type { Logger } from "@continuo/process";
import { type ExecutionArgs, GraphQLError, type GraphQLSchema } from "graphql";
import { CloseCode, handleProtocols, makeServer, MessageType, stringifyMessage } from "graphql-ws";
import { setTimeout as delay } from "node:timers/promises";
import { type WebSocket, WebSocketServer } from "ws";
import { formatError } from "./format-error.ts";
import { callerOf, requestIdOf } from "./gateway-headers.ts";
import type { OperationRequest } from "./run-operation.ts";
import type { SocketRoute } from "./socket-routes.ts";
import type { Streams, StreamScope } from "./streams.ts";

type Payload = Record<string, unknown> | undefined;

/** Absent until `connection_init` has named the caller. */
interface SocketState {
  scope?: StreamScope;
}

const PATH = "/graphql";
const MAX_MESSAGE_BYTES = 1024 * 1024;
const MAX_SOCKETS = 20_000;
const STREAMS_PER_SOCKET = 50;
const INIT_WITHIN_MS = 3_000;
const RENEW_WITHIN_MS = 60_000;
const CLOSE_WITHIN_MS = 1_000;
const GOING_AWAY = 1001;

/** The route for these sockets. Closing notifies each socket, and waits for at most a second. */
export function serveStreams(options: {
  schema: GraphQLSchema;
  streams: Streams;
  identity: IdentityVerifier;
  logger: Logger;
  renewWithinMs?: number | undefined;
}): SocketRoute {
  const { schema, streams, identity, logger, renewWithinMs = RENEW_WITHIN_MS } = options;
  const upgrades = new WebSocketServer({
    noServer: true,
    maxPayload: MAX_MESSAGE_BYTES,
    perMessageDeflate: false,
    handleProtocols,
  });
  const asked = new WeakMap<ExecutionArgs, { readonly request: OperationRequest; readonly scope: StreamScope }>();

  async function scopeOf(payload: Payload = {}): Promise<StreamScope> {
    return { caller: await callerOf(identity, payload), requestId: requestIdOf(payload) };
  }

  const protocol = makeServer<NonNullable<Payload>, SocketState>({
    connectionInitWaitTimeout: INIT_WITHIN_MS,
    async onConnect({ connectionParams, extra }) {
      extra.scope = await scopeOf(connectionParams);
      return true;
    },
    onSubscribe({ subscriptions, extra: { scope } }, _id, { query, operationName, variables }) {
      // graphql-ws accepts no operation before `connection_init`.
      if (!scope) throw new Error("a subscription came before its caller");
      if (Object.keys(subscriptions).length > STREAMS_PER_SOCKET) return [tooMany()];
      const request = { query, operationName: operationName ?? undefined, variables: variables ?? undefined };
      const document = streams.read(request);
      if (!("kind" in document)) return document;
      const args: ExecutionArgs = { schema, document, operationName: operationName ?? null };
      asked.set(args, { request, scope });
      return args;
    },
    async subscribe(args) {
      const found = asked.get(args);
      if (!found) throw new Error("a subscription was not read");
      return streams.begin(args.document, found.request, found.scope);
    },
    onError(_context, _id, _payload, errors) {
      for (const { originalError } of errors)
        if (originalError) logger.error({ err: originalError }, "a streamed subscription failed");
      return errors.map((error) => (error.originalError ? formatError(error) : error.toJSON()));
    },
  });

  upgrades.on("connection", (socket: WebSocket) => {
    const state: SocketState = {};
    const forbid = (): void => socket.close(CloseCode.Forbidden, "INTERNAL_IDENTITY_REQUIRED");
    let silence: NodeJS.Timeout | undefined;
    const stay = (): void => {
      clearTimeout(silence);
      silence = setTimeout(forbid, renewWithinMs);
    };
    const send = (data: string): Promise<void> =>
      new Promise((resolve, reject) => {
        if (socket.readyState !== socket.OPEN) return resolve();
        socket.send(data, (cause) => (cause && socket.readyState === socket.OPEN ? reject(cause) : resolve()));
      });

    stay();
    socket.on("error", (cause) => logger.debug({ err: cause }, "socket failed"));
    const closed = protocol.opened(
      {
        protocol: socket.protocol,
        send,
        close: (code, reason) => socket.close(code, reason),
        async onPing(payload) {
          const { caller } = await scopeOf(payload);
          if (JSON.stringify(caller) !== JSON.stringify(state.scope?.caller)) return forbid();
          stay();
          await send(stringifyMessage({ type: MessageType.Pong }));
        },
        onMessage(handle) {
          socket.on("message", (data) => {
            if (Buffer.isBuffer(data)) handle(data.toString("utf8")).catch(refuse);
          });
        },
      },
      state,
    );
    socket.once("close", (code, reason) => {
      clearTimeout(silence);
      closed(code, String(reason)).catch((cause: unknown) => logger.error({ err: cause }, "a socket failed to close"));
    });

    function refuse(cause: unknown): void {
      logger.info({ err: cause }, "a socket was refused");
      forbid();
    }
  });

  let isClosing = false;
  return {
    path: PATH,
    take(request, stream, head) {
      if (isClosing || upgrades.clients.size >= MAX_SOCKETS) return false;
      upgrades.handleUpgrade(request, stream, head, (opened) => upgrades.emit("connection", opened));
      return true;
    },
    async [Symbol.asyncDispose]() {
      isClosing = true;
      const sockets = [...upgrades.clients];
      const closed = sockets.map((socket) => new Promise((resolve) => socket.once("close", resolve)));
      for (const socket of sockets) socket.close(GOING_AWAY, "GOING_AWAY");
      await Promise.race([Promise.all(closed), delay(CLOSE_WITHIN_MS)]);
      for (const socket of upgrades.clients) socket.terminate();
      upgrades.close();
    },
  };
}

function tooMany(): GraphQLError {
  return new GraphQLError(`At most ${STREAMS_PER_SOCKET} subscriptions on a socket.`, {
    extensions: { code: "RATE_LIMITED", reason: "TOO_MANY_OPERATIONS" },
  });
}
