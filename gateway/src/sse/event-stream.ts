/**
 * One event stream (server-sent events as GraphQL over SSE has them): results out, keepalive, expiry, the ways it ends.
 * What runs in it, and for whom, is decided in `serve-event-streams.ts`.
 */
import type { AppError } from "@continuo/errors";
import type { FormattedExecutionResult } from "graphql";
import { once } from "node:events";
import { PassThrough, type Readable } from "node:stream";
import { formatGraphQLError, toGraphQLError } from "../errors.ts";

export interface EventStream {
  /** What the client reads. */
  readonly body: Readable;
  /** Aborted when it ends, whoever ends it. */
  readonly signal: AbortSignal;
  /** Sends a result. Resolves when there is room for the next, so that a slow client slows its own stream down. */
  next(result: FormattedExecutionResult): Promise<void>;
  /** Ends for good: the client has all there is. */
  complete(): void;
  /** The fault is the last word. False when it had ended. */
  fail(why: AppError): boolean;
  /** Ends in a way that makes clients come back; a comment says why, for people. */
  interrupt(reason: string): void;
}

/** Starts one. `beforePing` may end it instead; a client that does not read is cut off. `exp` is NumericDate seconds. */
export function createEventStream(options: { exp: number; pingEveryMs: number; beforePing: () => void }): EventStream {
  const { exp, pingEveryMs, beforePing } = options;
  const body = new PassThrough();
  const ended = new AbortController();
  const { signal } = ended;
  let isStalled = false;

  const keepalive = setInterval(() => {
    if (isStalled) return void body.destroy();
    beforePing();
    isStalled = body.writableNeedDrain;
    write(":\n\n");
  }, pingEveryMs);
  const expiry = setTimeout(() => interrupt("TOKEN_EXPIRED"), Math.max(0, exp * 1000 - Date.now()));

  body.once("close", stop);

  function stop(): void {
    clearInterval(keepalive);
    clearTimeout(expiry);
    ended.abort();
  }

  function write(text: string): void {
    if (!signal.aborted) body.write(text);
  }

  function end(text: string): boolean {
    if (signal.aborted) return false;
    body.end(text);
    stop();
    return true;
  }

  function interrupt(reason: string): void {
    end(`: ${reason}\n\n`);
  }

  // Some browsers hold the headers back until something follows them.
  write(":\n\n");

  return {
    body,
    signal,
    async next(result) {
      write(nextEvent(result));
      if (body.writableNeedDrain && !signal.aborted) await once(body, "drain", { signal }).catch(() => undefined);
    },
    complete: () => void end(COMPLETE),
    fail: (why) => end(nextEvent({ errors: [formatGraphQLError(toGraphQLError(why))] }) + COMPLETE),
    interrupt,
  };
}

const COMPLETE = "event: complete\ndata:\n\n";

function nextEvent(result: FormattedExecutionResult): string {
  return `event: next\ndata: ${JSON.stringify(result)}\n\n`;
}
