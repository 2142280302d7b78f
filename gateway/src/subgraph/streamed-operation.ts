/**
 * A subscription that its subgraph runs by itself: over graphql-transport-ws, or in this process. Each has a socket of its
 * own, on which nothing of the client's is sent: the signed statement goes with `connection_init`, and a fresh one with
 * every ping, as none is good for longer than a minute.
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

/** Who hears of it. Never throws. */
export interface EventSink<Sent> {
  /** An event, which others may hold too. */
  next(sent: Sent): void;
  /** The last word. No errors: the subgraph has completed it. `UNAVAILABLE`: it has not begun; `EVENTS_MISSED`: it broke. */
  end(errors: readonly SubgraphError[]): void;
}

/** Leaves it: from then on the sink hears nothing. */
export type Leave = () => void;

const MAX_EVENT_BYTES = 1024 * 1024;
const CONNECT_WITHIN_MS = 2_000;
const ACK_WITHIN_MS = 3_000;
const PING_EVERY_MS = 12_000;

/** It broke: something may have happened that nobody was told. */
export const EVENTS_MISSED: SubgraphError = {
  message: "Events may have been missed: read anew what you show, and subscribe again.",
  extensions: { code: "UNAVAILABLE", reason: "EVENTS_MISSED" },
};

/** Begins it at the subgraph whose base is `url`. `credentials` are asked for when it connects, and for each ping. */
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

  /** A socket that is silent is not closed by anybody else. */
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
      // The client would quietly begin again where the other side closes in peace (1000), and nobody would hear of the gap.
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

/** Begins it in this process. */
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
    // Whoever waits for the next event is not told by it that nobody wants it.
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

/** An answer without data: nothing was begun (GraphQL, section 7.1). */
function isRequestError(sent: unknown): sent is { readonly errors: readonly unknown[] } {
  return isRecord(sent) && !("data" in sent) && Array.isArray(sent["errors"]);
}

/** What the subgraph says of an operation, in place of how the connection fared. */
function isRefusal(thrown: unknown): thrown is readonly unknown[] {
  return Array.isArray(thrown);
}

function isFault({ extensions }: SubgraphError): boolean {
  return extensions.code === "INTERNAL_SERVER_ERROR";
}

/** Of the events of a socket, what a log can show. */
function causeOf(cause: unknown): unknown {
  if (cause instanceof Error || !isRecord(cause)) return cause;
  return cause["error"] ?? { code: cause["code"], reason: cause["reason"] };
}

/** With limits: who is at the other side may be anybody. */
class BoundedSocket extends WebSocket {
  constructor(address: string, protocol: string) {
    super(address, protocol, {
      maxPayload: MAX_EVENT_BYTES,
      handshakeTimeout: CONNECT_WITHIN_MS,
      perMessageDeflate: false,
    });
  }
}
