/** One socket of the asking side: which callers wait for which answers, and how the socket ends. */
import type { Logger } from "@continuo/process";
import { GRAPHQL_TRANSPORT_WS_PROTOCOL, type Message, MessageType, stringifyMessage } from "graphql-ws";
import { WebSocket } from "ws";
import { BYTES_A_CHARACTER, createSend, MAX_ANSWER_BYTES, MAX_REQUEST_BYTES, PATH, readMessage } from "./wire.ts";

export interface Asked {
  readonly query: string;
  readonly variables?: Record<string, unknown> | undefined;
  readonly operationName?: string | undefined;
}

export interface AskOptions {
  /** How long an answer may take. Milliseconds. */
  readonly withinMs: number;
  /** Aborted when nobody waits for the answer any more. */
  readonly signal?: AbortSignal | undefined;
}

export interface Connection {
  readonly underWay: number;
  /** Neither closed nor retired. */
  readonly isOpen: boolean;
  /** Whether it can take another operation now. */
  readonly hasRoom: boolean;
  /**
   * The answer, unchanged: a GraphQL result, if the other side speaks the protocol. Undefined when the operation is too
   * long for a socket. Rejects with SocketLost, and with another error on timeout or when nobody waits any more.
   */
  ask(request: Asked, headers: Readonly<Record<string, string>>, patience: AskOptions): Promise<unknown> | undefined;
  /** Takes no more operations, and closes when all have been answered. */
  retire(): void;
  /** Takes no more operations, and closes now. */
  close(): Promise<void>;
  /** Resolves when it is closed. */
  readonly closed: Promise<void>;
}

/** The connection was lost; whether the operation arrived is not known. */
export class SocketLost extends Error {
  override readonly name = "SocketLost";
}

interface Waiting {
  readonly settle: (outcome: { readonly answer: unknown } | { readonly cause: Error }) => void;
}

const MAX_UNDER_WAY = 250;
/** Unsent bytes above which new operations go to another socket. */
const MAX_WAITING_BYTES = 1024 * 1024;
/** Time limits: for the WebSocket handshake, and for everything until we are admitted. */
const CONNECT_WITHIN_MS = 2_000;
const ADMITTED_WITHIN_MS = 5_000;
const CLOSE_WITHIN_MS = 1_000;
const NORMAL = 1000;

/** Resolves when the subgraph at base `url` has admitted us by `headers`, else rejects. */
export async function connect(options: {
  url: string;
  headers: Readonly<Record<string, string>>;
  pingEveryMs: number;
  logger: Logger;
}): Promise<Connection> {
  const { url, headers, pingEveryMs, logger } = options;
  const socket = new WebSocket(
    `${url.replace(/^http/, "ws").replace(/\/+$/, "")}${PATH}`,
    GRAPHQL_TRANSPORT_WS_PROTOCOL,
    {
      maxPayload: MAX_ANSWER_BYTES,
      handshakeTimeout: CONNECT_WITHIN_MS,
      perMessageDeflate: false,
    },
  );
  const waiting = new Map<string, Waiting>();
  const admitted = Promise.withResolvers<void>();
  let send = (_text: string): void => undefined;
  let lastId = 0;
  let isRetired = false;
  let isHeard = true;

  function hear(message: Message | undefined): void {
    isHeard = true;
    switch (message?.type) {
      case MessageType.ConnectionAck:
        return admitted.resolve();
      case MessageType.Next:
        return waiting.get(message.id)?.settle({ answer: message.payload });
      case MessageType.Error:
        return waiting.get(message.id)?.settle({ answer: { errors: message.payload } });
      case MessageType.Complete:
        return waiting.get(message.id)?.settle({ answer: undefined });
      case MessageType.Ping:
        if (message.payload?.["goingAway"] === true) retire();
        return send(stringifyMessage({ type: MessageType.Pong }));
      case MessageType.Pong:
        return;
      // Messages that only a client may send.
      case MessageType.ConnectionInit:
      case MessageType.Subscribe:
      case undefined:
        return socket.terminate();
    }
  }

  function retire(): void {
    isRetired = true;
    if (waiting.size === 0) socket.close(NORMAL);
  }

  /** Nothing else closes a socket that has gone silent. */
  const pinging = setInterval(() => {
    if (!isHeard) return socket.terminate();
    isHeard = false;
    send(stringifyMessage({ type: MessageType.Ping }));
  }, pingEveryMs);

  socket.once("upgrade", ({ socket: stream }) => {
    send = createSend(socket, stream);
  });
  socket.once("open", () => send(stringifyMessage({ type: MessageType.ConnectionInit, payload: { ...headers } })));
  socket.on("message", (data) => hear(readMessage(data)));
  socket.on("error", (cause) => admitted.reject(cause));
  const closed = Promise.withResolvers<void>();
  socket.once("close", () => {
    clearInterval(pinging);
    closed.resolve();
    const lost = new SocketLost("the socket to the subgraph was closed");
    admitted.reject(lost);
    if (waiting.size > 0) logger.warn({ underWay: waiting.size }, "a subgraph's socket was lost");
    for (const { settle } of waiting.values()) settle({ cause: lost });
  });

  const late = setTimeout(() => socket.terminate(), ADMITTED_WITHIN_MS);
  await admitted.promise.finally(() => clearTimeout(late));

  return {
    closed: closed.promise,
    get underWay() {
      return waiting.size;
    },
    get isOpen() {
      return !isRetired && socket.readyState === WebSocket.OPEN;
    },
    get hasRoom() {
      return waiting.size < MAX_UNDER_WAY && socket.bufferedAmount < MAX_WAITING_BYTES;
    },
    ask(request, headers, { withinMs, signal }) {
      lastId += 1;
      const id = String(lastId);
      const text = JSON.stringify({ id, type: MessageType.Subscribe, payload: { ...request, extensions: headers } });
      if (text.length * BYTES_A_CHARACTER > MAX_REQUEST_BYTES) return undefined;
      const { promise, resolve, reject } = Promise.withResolvers<unknown>();
      const leave = (cause: Error): void => {
        send(stringifyMessage({ id, type: MessageType.Complete }));
        settle({ cause });
      };
      const timer = setTimeout(() => leave(new Error(`no answer within ${withinMs} ms`)), withinMs);
      const gone = (): void => leave(new Error("nobody waits for the answer"));
      const settle: Waiting["settle"] = (outcome) => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", gone);
        waiting.delete(id);
        if ("cause" in outcome) reject(outcome.cause);
        else resolve(outcome.answer);
        if (isRetired && waiting.size === 0) socket.close(NORMAL);
      };
      waiting.set(id, { settle });
      send(text);
      if (signal?.aborted) gone();
      else signal?.addEventListener("abort", gone, { once: true });
      return promise;
    },
    retire,
    async close() {
      isRetired = true;
      socket.close(NORMAL);
      const late = setTimeout(() => socket.terminate(), CLOSE_WITHIN_MS);
      await closed.promise;
      clearTimeout(late);
    },
  };
}
