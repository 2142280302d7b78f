/**
 * The answering side. graphql-ws parses the messages; its server is not used because it cannot tell that the caller of
 * a query has left.
 */
import type { Logger } from "@continuo/process";
import type { FormattedExecutionResult, GraphQLFormattedError } from "graphql";
import { CloseCode, handleProtocols, MessageType, type SubscribeMessage } from "graphql-ws";
import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { type WebSocket, WebSocketServer } from "ws";
import {
  BYTES_A_CHARACTER,
  createSend,
  GOING_AWAY,
  MAX_ANSWER_BYTES,
  MAX_REQUEST_BYTES,
  PATH,
  readMessage,
} from "./wire.ts";

type Headers = Readonly<Record<string, unknown>>;

/** One operation as it arrived. */
export interface AcceptedOperation {
  readonly query: string;
  readonly variables: Record<string, unknown> | undefined;
  readonly operationName: string | undefined;
  readonly headers: Headers;
  /** Aborted when nobody waits for the answer any more. */
  readonly signal: AbortSignal;
  /** Resolves when the answer has been sent, or when nobody waits for it. */
  readonly answered: Promise<void>;
}

/** Accepts upgraded sockets. Disposal waits up to ten seconds for answers under way. */
export interface OperationRoute extends AsyncDisposable {
  readonly path: string;
  /** Takes over a socket; false when it takes no more. */
  take(request: IncomingMessage, stream: Duplex, head: Buffer): boolean;
}

const MAX_SOCKETS = 1_000;
const MAX_UNDER_WAY = 1_000;
/** Unsent bytes allowed for a gateway that does not read. */
const MAX_WAITING_BYTES = 64 * 1024 * 1024;
const INIT_WITHIN_MS = 3_000;
/** A gateway pings far more often. */
const SILENT_FOR_MS = 60_000;
const CLOSE_WITHIN_MS = 10_000;

/**
 * `admit` decides from the headers of `connection_init` who may open a socket, and throws to refuse. `answer` must
 * still verify each operation's own headers, and never rejects.
 */
export function acceptOperations(options: {
  admit: (headers: Headers) => Promise<unknown>;
  answer: (operation: AcceptedOperation) => Promise<FormattedExecutionResult>;
  logger: Logger;
  initWithinMs?: number | undefined;
  silentForMs?: number | undefined;
  closeWithinMs?: number | undefined;
}): OperationRoute {
  const { admit, answer, logger } = options;
  const { initWithinMs = INIT_WITHIN_MS, silentForMs = SILENT_FOR_MS, closeWithinMs = CLOSE_WITHIN_MS } = options;
  const upgrades = new WebSocketServer({
    noServer: true,
    maxPayload: MAX_REQUEST_BYTES,
    perMessageDeflate: false,
    handleProtocols,
  });
  const farewells = new Map<WebSocket, () => void>();
  let isClosing = false;

  function connected(socket: WebSocket, stream: Duplex): void {
    const send = createSend(socket, stream);
    const underWay = new Map<string, AbortController>();
    let state: "NEW" | "ASKED" | "ADMITTED" = "NEW";
    // `setImmediate` first reads what has arrived: under load, `connection_init` may be in the buffer when this fires.
    const hasInit = setTimeout(() => setImmediate(initIsDue), initWithinMs);
    const silence = setTimeout(() => socket.terminate(), silentForMs);

    function initIsDue(): void {
      if (state === "NEW") socket.close(CloseCode.ConnectionInitialisationTimeout, "Connection initialisation timeout");
    }

    async function introduce(headers: Headers): Promise<void> {
      if (state !== "NEW")
        return socket.close(CloseCode.TooManyInitialisationRequests, "Too many initialisation requests");
      state = "ASKED";
      clearTimeout(hasInit);
      try {
        await admit(headers);
      } catch (cause) {
        logger.info({ err: cause }, "a gateway's socket was refused");
        return socket.close(CloseCode.Forbidden, "Forbidden");
      }
      state = "ADMITTED";
      send(JSON.stringify({ type: MessageType.ConnectionAck }));
    }

    function begin(message: SubscribeMessage): void {
      if (state !== "ADMITTED") return socket.close(CloseCode.Unauthorized, "Unauthorized");
      const { id } = message;
      if (underWay.has(id))
        return socket.close(CloseCode.SubscriberAlreadyExists, `Subscriber for ${id} already exists`);
      if (underWay.size >= MAX_UNDER_WAY) return send(errorOf(id, [TOO_MANY]));
      const leaving = new AbortController();
      underWay.set(id, leaving);
      run(message, leaving).catch((cause: unknown) => {
        logger.error({ err: cause }, "an operation could not be answered");
        socket.close(CloseCode.InternalServerError, "Internal server error");
      });
    }

    async function run({ id, payload }: SubscribeMessage, leaving: AbortController): Promise<void> {
      const { signal } = leaving;
      const answered = Promise.withResolvers<void>();
      const { query, variables, operationName, extensions } = payload;
      try {
        const result = await answer({
          query,
          variables: variables ?? undefined,
          operationName: operationName ?? undefined,
          headers: extensions ?? {},
          signal,
          answered: answered.promise,
        });
        // The client may have reused the id for another operation.
        if (underWay.get(id) !== leaving) return;
        underWay.delete(id);
        tell(id, result);
      } finally {
        answered.resolve();
      }
    }

    function tell(id: string, result: FormattedExecutionResult): void {
      if (socket.bufferedAmount > MAX_WAITING_BYTES) return socket.terminate();
      // A request that was not executed is answered by an Error message (PROTOCOL.md, "Error").
      if (result.data === undefined) return send(errorOf(id, result.errors ?? []));
      const payload = JSON.stringify(result);
      if (isTooLong(payload)) {
        logger.error({ operation: id, characters: payload.length }, "an answer was too long");
        return send(errorOf(id, [UNEXPECTED]));
      }
      send(`{"id":${JSON.stringify(id)},"type":"${MessageType.Next}","payload":${payload}}`);
      send(JSON.stringify({ id, type: MessageType.Complete }));
    }

    function leave(id: string): void {
      underWay.get(id)?.abort();
      underWay.delete(id);
    }

    socket.on("message", (data) => {
      silence.refresh();
      const message = readMessage(data);
      switch (message?.type) {
        case MessageType.ConnectionInit:
          return void introduce(message.payload ?? {});
        case MessageType.Subscribe:
          return begin(message);
        case MessageType.Complete:
          return leave(message.id);
        case MessageType.Ping:
          return send(JSON.stringify({ type: MessageType.Pong }));
        case MessageType.Pong:
          return;
        // Messages that only a server may send.
        case MessageType.ConnectionAck:
        case MessageType.Next:
        case MessageType.Error:
        case undefined:
          return socket.close(CloseCode.BadRequest, "Invalid message received");
      }
    });
    socket.on("error", (cause) => logger.debug({ err: cause }, "a gateway's socket failed"));
    socket.once("close", () => {
      clearTimeout(hasInit);
      clearTimeout(silence);
      farewells.delete(socket);
      for (const id of underWay.keys()) leave(id);
    });
    farewells.set(socket, () => send(JSON.stringify({ type: MessageType.Ping, payload: GOING_AWAY })));
  }

  return {
    path: PATH,
    take(request, stream, head) {
      if (isClosing || upgrades.clients.size >= MAX_SOCKETS) return false;
      upgrades.handleUpgrade(request, stream, head, (socket) => connected(socket, stream));
      return true;
    },
    async [Symbol.asyncDispose]() {
      isClosing = true;
      const closed = [...farewells.keys()].map((socket) => new Promise((resolve) => socket.once("close", resolve)));
      for (const goAway of farewells.values()) goAway();
      const allClosed = new AbortController();
      await Promise.race([Promise.all(closed), delay(closeWithinMs, undefined, { signal: allClosed.signal })]);
      allClosed.abort();
      for (const socket of upgrades.clients) socket.terminate();
      upgrades.close();
    },
  };
}

const TOO_MANY: GraphQLFormattedError = {
  message: "Too many operations are under way here.",
  extensions: { code: "RATE_LIMITED", reason: "TOO_MANY_OPERATIONS" },
};
const UNEXPECTED: GraphQLFormattedError = {
  message: "Something went wrong on our side.",
  extensions: { code: "INTERNAL_SERVER_ERROR", reason: "UNEXPECTED" },
};

function errorOf(id: string, payload: readonly GraphQLFormattedError[]): string {
  return JSON.stringify({ id, type: MessageType.Error, payload });
}

/** Whether a payload is too long to send, leaving a kilobyte for its envelope. */
function isTooLong(payload: string): boolean {
  const most = MAX_ANSWER_BYTES - 1024;
  return payload.length * BYTES_A_CHARACTER > most && Buffer.byteLength(payload) > most;
}
