/**
 * The body of one streamed answer: text out, keepalive, expiry, the ways it ends. How results are framed is told in
 * `framing.ts`; what runs in it, and for whom, is decided in `serve-event-streams.ts`.
 */
import { once } from "node:events";
import type { ServerResponse } from "node:http";
import { PassThrough, type Readable } from "node:stream";
import type { PingRounds, Visited } from "../rounds.ts";
import { countClosed } from "../stream-metrics.ts";
import type { Framing } from "./framing.ts";

export interface EventStream {
  /** What the client reads. */
  readonly body: Readable;
  /** Aborted when it ends, whoever ends it. */
  readonly signal: AbortSignal;
  /** Sends a text. Resolves when there is room for the next, so that a slow client slows its own stream down. */
  send(text: string): Promise<void>;
  /** What the body goes out by, from when it does. */
  goesOutBy(response: ServerResponse): void;
  /** Ends it with these words, for a reason that is counted. False when it had ended. */
  end(words: string, reason: string): boolean;
  /** As `end`, at once: where something waits for its client, neither that is sent nor the words, which would come after it. */
  endAtOnce(words: string, reason: string): boolean;
  /** Ends in a way that makes clients come back. */
  interrupt(reason: string): void;
}

/**
 * Starts one. A client that reads nothing from one ping to the next is cut off. Nothing is
 * told from `exp` (NumericDate seconds) on, and with the next round it ends.
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
    // The machine would still send what it has taken over.
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
    goesOutBy(given) {
      response = given;
    },
    end,
    endAtOnce,
    interrupt,
  };
}
