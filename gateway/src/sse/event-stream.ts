/**
 * The body of one streamed response: writing, keepalive, token expiry, and the ways it ends. `framing.ts` frames the
 * results; `serve-event-streams.ts` decides what runs in it, and for whom.
 */
import { once } from "node:events";
import type { ServerResponse } from "node:http";
import { PassThrough, type Readable } from "node:stream";
import type { PingRounds, Visited } from "../rounds.ts";
import { countClosed } from "../stream-metrics.ts";
import type { Framing } from "./framing.ts";

export interface EventStream {
  /** The response body. */
  readonly body: Readable;
  /** Aborted when the stream ends, whichever side ends it. */
  readonly signal: AbortSignal;
  /** Writes `text`. Resolves when there is room for more, so that a slow client slows only its own stream. */
  send(text: string): Promise<void>;
  /** Sets the response that the body is sent by. */
  attachResponse(response: ServerResponse): void;
  /** Writes `words` and ends the stream; `reason` goes into the metrics. False if it had already ended. */
  end(words: string, reason: string): boolean;
  /**
   * Like `end`, but immediate: if the client has unread data, the connection is reset, so neither that data nor `words`
   * is sent.
   */
  endAtOnce(words: string, reason: string): boolean;
  /** Ends the stream so that the client reconnects. */
  interrupt(reason: string): void;
}

/**
 * Starts a stream. A client that reads nothing between two pings is cut off. From `exp` (NumericDate seconds) on
 * nothing is sent, and the stream ends at the next round.
 */
export function createEventStream(options: {
  framing: Pick<Framing, "transport" | "opening" | "ping" | "interruption">;
  exp: number;
  pings: PingRounds;
}): EventStream {
  const { framing, exp, pings } = options;
  const body = new PassThrough();
  const ended = new AbortController();
  const { signal } = ended;
  let response: ServerResponse | undefined;
  let isStalled = false;
  let rounds = 0;
  const visited: Visited = {
    visit() {
      if (hasExpired()) return;
      rounds += 1;
      if (rounds % pings.every === 0) ping();
    },
  };
  pings.rounds.join(visited);

  body.once("close", () => stop("CLIENT"));
  body.on("drain", () => {
    isStalled = false;
  });

  function stop(reason: string): void {
    if (signal.aborted) return;
    countClosed({ transport: framing.transport, reason });
    pings.rounds.leave(visited);
    ended.abort();
  }

  function ping(): void {
    if (isStalled) {
      stop("TOO_SLOW");
      return void body.destroy();
    }
    isStalled = body.writableNeedDrain;
    write(framing.ping);
  }

  function hasExpired(): boolean {
    if (Date.now() < exp * 1000) return false;
    interrupt("TOKEN_EXPIRED");
    return true;
  }

  function write(text: string): void {
    if (!signal.aborted && !hasExpired()) body.write(text);
  }

  function end(words: string, reason: string): boolean {
    if (signal.aborted) return false;
    body.end(words);
    stop(reason);
    return true;
  }

  function endAtOnce(words: string, reason: string): boolean {
    if (signal.aborted || !response || response.writableLength === 0) return end(words, reason);
    stop(reason);
    // Otherwise the kernel would still send what it has buffered.
    response.socket?.resetAndDestroy();
    body.destroy();
    return true;
  }

  function interrupt(reason: string): void {
    end(framing.interruption(reason), reason);
  }

  body.write(framing.opening);

  return {
    body,
    signal,
    async send(text) {
      write(text);
      if (body.writableNeedDrain && !signal.aborted) await once(body, "drain", { signal }).catch(() => undefined);
    },
    attachResponse(given) {
      response = given;
    },
    end,
    endAtOnce,
    interrupt,
  };
}
