/**
 * A subscription that its subgraph executes: over graphql-transport-ws, or in this process. Each has its own socket,
 * which forwards no client headers: the signed internal identity is sent in `connection_init` and renewed with every
 * ping, because it is valid for a minute at most.
 */
import { isAppError } from "@continuo/errors";
import type { Logger } from "@continuo/process";
import { createClient, MessageType, stringifyMessage, type SubscribePayload } from "graphql-ws";
import { WebSocket } from "ws";
import type { LocalSubgraph } from "./local-subgraph.ts";
import {
  fromSubgraph,
  isRecord,
  type SubgraphError,
  toSubgraphError,
  UNAVAILABLE,
  UNEXPECTED,
} from "./subgraph-error.ts";

/** Receives the events. Must not throw. */
export interface EventSink<Sent> {
  /** Receives an event, which others may hold too. */
  next(sent: Sent): void;
  /**
   * Ends the stream. Without errors the subgraph has completed it; `UNAVAILABLE`: it never started; `EVENTS_MISSED`:
   * the connection broke.
   */
  end(errors: readonly SubgraphError[]): void;
}

/** Unsubscribes: the sink receives nothing from then on. */
export type Leave = () => void;

const MAX_EVENT_BYTES = 1024 * 1024;
const CONNECT_WITHIN_MS = 2_000;
const ACK_WITHIN_MS = 3_000;
const PING_EVERY_MS = 12_000;

/** The stream broke: events may have been lost. */
export const EVENTS_MISSED: SubgraphError = {
  message: "Events may have been missed: read anew what you show, and subscribe again.",
  extensions: { code: "UNAVAILABLE", reason: "EVENTS_MISSED" },
};

/**
 * Starts the subscription at the subgraph with base URL `url`. `credentials` is called at connection and for each ping.
 */
export function beginRemote(options: {
  url: string;
  request: SubscribePayload;
  credentials: () => Promise<Record<string, string>>;
  sink: EventSink<unknown>;
  logger: Logger;
  pingEveryMs?: number | undefined;
}): Leave {
  const { url, request, credentials, sink, logger, pingEveryMs = PING_EVERY_MS } = options;
  let hasBegun = false;
  let isOver = false;
  let isAnswered = true;
  let pinging: NodeJS.Timeout | undefined;

  function finish(): void {
    isOver = true;
    clearInterval(pinging);
  }

  function end(errors: readonly SubgraphError[]): void {
    if (isOver) return;
    finish();
    sink.end(errors);
  }

  function broken(cause: unknown): void {
    if (isOver) return;
    logger.warn({ err: causeOf(cause) }, "a streamed subscription broke");
    leave();
    end([hasBegun ? EVENTS_MISSED : UNAVAILABLE]);
  }

  /** Nothing else closes a silent socket. */
  async function ping(socket: WebSocket): Promise<void> {
    if (!isAnswered) return socket.terminate();
    isAnswered = false;
    const payload = await credentials();
    if (socket.readyState === socket.OPEN) socket.send(stringifyMessage({ type: MessageType.Ping, payload }));
  }

  const client = createClient({
    url: `${url.replace(/^http/, "ws").replace(/\/+$/, "")}/graphql`,
    webSocketImpl: BoundedSocket,
    connectionParams: credentials,
    connectionAckWaitTimeout: ACK_WITHIN_MS,
    retryAttempts: 0,
    on: {
      connected(socket) {
        hasBegun = true;
        if (isOver || !(socket instanceof WebSocket)) return;
        pinging = setInterval(() => void ping(socket).catch(broken), pingEveryMs);
      },
      pong: (isReceived) => void (isAnswered ||= isReceived),
      // After a normal close (1000) the client would silently resubscribe, and nobody would learn of the gap.
      closed: broken,
    },
  });
  const leave = client.subscribe(request, {
    next(sent) {
      if (isOver) return;
      if (!isRequestError(sent)) return sink.next(sent);
      end(sent.errors.map(fromSubgraph));
      leave();
    },
    error(thrown) {
      if (!isRefusal(thrown)) return broken(thrown);
      const errors = thrown.map(fromSubgraph);
      if (errors.some(isFault)) logger.error({ sent: thrown }, "subgraph reported a fault");
      end(errors);
    },
    complete: () => end([]),
  });
  return () => {
    finish();
    leave();
  };
}

/** Starts the subscription in this process. */
export function beginLocal(options: {
  subgraph: LocalSubgraph;
  request: Parameters<LocalSubgraph["subscribe"]>[0];
  scope: Parameters<LocalSubgraph["subscribe"]>[1];
  sink: EventSink<unknown>;
  logger: Logger;
}): Leave {
  const { subgraph, request, scope, sink, logger } = options;
  const leaving = new AbortController();
  const { signal } = leaving;

  async function run(): Promise<void> {
    const begun = await subgraph.subscribe(request, { ...scope, signal });
    if (!(Symbol.asyncIterator in begun)) return end((begun.errors ?? []).map(fromSubgraph));
    const events = begun[Symbol.asyncIterator]();
    // An iterator waiting for its next event does not notice the abort; `return` ends it.
    const stop = (): void => void events.return?.()?.catch(() => undefined);
    signal.addEventListener("abort", stop, { once: true });
    if (signal.aborted) stop();
    for (let event = await events.next(); !event.done && !signal.aborted; event = await events.next())
      sink.next(event.value);
    end([]);
  }

  function end(errors: readonly SubgraphError[]): void {
    if (!signal.aborted) sink.end(errors);
  }

  run().catch((cause: unknown) => {
    if (isAppError(cause)) return end([toSubgraphError(cause)]);
    logger.error({ err: cause }, "a streamed subscription failed");
    end([UNEXPECTED]);
  });
  return () => leaving.abort();
}

/** Whether this is a request error: an answer without data, so nothing started (GraphQL, section 7.1). */
function isRequestError(sent: unknown): sent is { readonly errors: readonly unknown[] } {
  return isRecord(sent) && !("data" in sent) && Array.isArray(sent["errors"]);
}

/** Whether this is the subgraph's errors for the operation, rather than a connection failure. */
function isRefusal(thrown: unknown): thrown is readonly unknown[] {
  return Array.isArray(thrown);
}

function isFault({ extensions }: SubgraphError): boolean {
  return extensions.code === "INTERNAL_SERVER_ERROR";
}

/** The loggable part of a socket's event. */
function causeOf(cause: unknown): unknown {
  if (cause instanceof Error || !isRecord(cause)) return cause;
  return cause["error"] ?? { code: cause["code"], reason: cause["reason"] };
}

/** A socket with limits, because the other end may be any server. */
class BoundedSocket extends WebSocket {
  constructor(address: string, protocol: string) {
    super(address, protocol, {
      maxPayload: MAX_EVENT_BYTES,
      handshakeTimeout: CONNECT_WITHIN_MS,
      perMessageDeflate: false,
    });
  }
}
