/**
 * Events of a subscription that its owner executes (`@streamed`). There is no cursor to catch up from, so a client that
 * may have missed an event (the owner is gone, or the client too slow) gets EVENTS_MISSED and starts again.
 */
import { AppError } from "@continuo/errors";
import { createCounter } from "@continuo/process";
import { EVENTS_MISSED, type EventSink, type Leave } from "../subgraph/streamed-operation.ts";
import type { SubgraphAnswer } from "../subgraph/subgraph-client.ts";
import { type SubgraphError, toSubgraphError, UNAVAILABLE } from "../subgraph/subgraph-error.ts";
import type { Stream, Subscriber } from "./stream.ts";
import { StreamError } from "./stream-error.ts";

type Sink = EventSink<SubgraphAnswer>;

/** The operation at the owner, and the session it is for. */
export interface StreamedQuestion {
  /** The session that the operation counts against. */
  readonly sessionId: string;
  /** Identifies caller and request; equal keys share one operation. Undefined shares nothing. */
  readonly key: string | undefined;
  /** Starts the operation at the owner. */
  readonly begin: (sink: Sink) => Leave;
}

/**
 * Joins the owner's operation, which starts for the first sink and ends with the last. Refusals go to the sink as its
 * end: RATE_LIMITED/TOO_MANY_OPERATIONS if the session has too many, UNAVAILABLE/GATEWAY_FULL if the gateway cannot
 * start another.
 */
export type JoinStreamed = (question: StreamedQuestion) => (sink: Sink) => Leave;

interface Operation {
  readonly sinks: Set<Sink>;
  leave: Leave;
}

/** The limit per session: each operation may be a socket to an owner. */
const PER_SESSION = 50;
/** The limit for all sessions and owners together. Joining a shared operation does not count. */
const PER_GATEWAY = 5_000;
/** How long starting at an unavailable owner is retried before its subscribers are told. */
const BEGIN_WITHIN_MS = 10_000;
/** Clients that missed events are told to return at random times within this period. */
const RETURN_WITHIN_MS = 2_000;
/** The most events that wait for a slow client, and their total length as JSON. */
const MAX_WAITING = 200;
const MAX_WAITING_CHARACTERS = 4 * 1024 * 1024;

const count = createCounter(
  "continuo_streamed_total",
  "Subscriptions that their owner streams: BEGUN there, JOINED by more who ask alike, RETRIED, BROKEN by the owner, OVERFLOWED by a slow client.",
  ["outcome"],
);

/** `backoffMs` is the delay after the nth consecutive failure. Milliseconds. */
export function createStreamedOperations(options: {
  backoffMs: (failures: number) => number;
  beginWithinMs?: number | undefined;
  perGateway?: number | undefined;
}): JoinStreamed {
  const { backoffMs, beginWithinMs = BEGIN_WITHIN_MS, perGateway = PER_GATEWAY } = options;
  let begun = 0;
  const shared = new Map<string, Operation>();
  const counts = new Map<string, number>();

  function take(sessionId: string, more: number): void {
    const counted = (counts.get(sessionId) ?? 0) + more;
    if (counted > 0) counts.set(sessionId, counted);
    else counts.delete(sessionId);
  }

  function begin({ key, begin }: StreamedQuestion): Operation {
    const sinks = new Set<Sink>();
    const giveUpAt = performance.now() + beginWithinMs;
    let failures = 0;
    let leaveOwner: Leave = () => undefined;
    let retry: NodeJS.Timeout | undefined;

    function leave(): void {
      begun -= 1;
      clearTimeout(retry);
      leaveOwner();
      if (key !== undefined) shared.delete(key);
    }

    function attempt(): void {
      leaveOwner = begin({
        next(answer) {
          for (const sink of sinks) sink.next(answer);
        },
        end(errors) {
          if (errors.includes(UNAVAILABLE) && performance.now() < giveUpAt) {
            failures += 1;
            count({ outcome: "RETRIED" });
            retry = setTimeout(attempt, backoffMs(failures));
            return;
          }
          if (errors.length > 0) count({ outcome: "BROKEN" });
          const told = [...sinks];
          sinks.clear();
          leave();
          for (const sink of told) sink.end(errors);
        },
      });
    }

    begun += 1;
    const operation = { sinks, leave };
    if (key !== undefined) shared.set(key, operation);
    attempt();
    return operation;
  }

  return (question) => (sink) => {
    const { sessionId, key } = question;
    const running = key === undefined ? undefined : shared.get(key);
    const isTooMany = (counts.get(sessionId) ?? 0) >= PER_SESSION;
    if (isTooMany || (!running && begun >= perGateway)) {
      sink.end([toSubgraphError(isTooMany ? tooMany() : full())]);
      return () => undefined;
    }
    take(sessionId, 1);
    count({ outcome: running ? "JOINED" : "BEGUN" });
    const { sinks, leave } = running ?? begin(question);
    sinks.add(sink);
    let isThere = true;
    return () => {
      if (!isThere) return;
      isThere = false;
      take(sessionId, -1);
      if (sinks.delete(sink) && sinks.size === 0) leave();
    };
  };
}

function tooMany(): AppError {
  return new AppError("RATE_LIMITED", "TOO_MANY_OPERATIONS", `At most ${PER_SESSION} streamed at a time.`);
}

function full(): AppError {
  const details = { retryAfterMs: soon() };
  return new AppError("UNAVAILABLE", "GATEWAY_FULL", "The gateway is full: reconnect later.", { details });
}

function missed(): SubgraphError {
  const { message, extensions } = EVENTS_MISSED;
  return { message, extensions: { ...extensions, details: { retryAfterMs: soon() } } };
}

/** A random delay, different for each client. Milliseconds. */
function soon(): number {
  return Math.round(Math.random() * RETURN_WITHIN_MS);
}

const lengths = new WeakMap<SubgraphAnswer, number>();

/** The answer's length as JSON, computed once for all clients that it waits for. */
function lengthOf(answer: SubgraphAnswer): number {
  const length = lengths.get(answer) ?? JSON.stringify(answer).length;
  lengths.set(answer, length);
  return length;
}

/** Opens a stream of the operation's events; `complete` adds the other subgraphs' data. */
export function openStreamedEvents<Event>(
  options: {
    join: (sink: Sink) => Leave;
    complete: (answer: SubgraphAnswer, signal: AbortSignal) => Promise<Event>;
  },
  subscriber: Subscriber<Event>,
): Stream {
  const closing = new AbortController();
  const { signal } = closing;
  const waiting: { readonly answer: SubgraphAnswer; readonly length: number }[] = [];
  let characters = 0;
  let ended: readonly SubgraphError[] | undefined;
  let isTelling = false;

  const leave = options.join({
    next(answer) {
      // An event that can be sent at once does not wait.
      const length = isTelling ? lengthOf(answer) : 0;
      characters += length;
      if (waiting.length < MAX_WAITING && characters <= MAX_WAITING_CHARACTERS) waiting.push({ answer, length });
      else miss();
      tell();
    },
    end(errors) {
      ended ??= errors.includes(EVENTS_MISSED) ? [missed()] : errors;
      tell();
    },
  });

  function miss(): void {
    count({ outcome: "OVERFLOWED" });
    waiting.length = 0;
    ended ??= [missed()];
    leave();
  }

  function close(): void {
    if (signal.aborted) return;
    closing.abort();
    leave();
  }

  function tell(): void {
    if (!isTelling) void tellAll();
  }

  /** Sends the waiting events, then the end. */
  async function tellAll(): Promise<void> {
    isTelling = true;
    try {
      // The owner may send an event during `join`, before `leave` is assigned.
      await Promise.resolve();
      for (let next = waiting.shift(); next && !signal.aborted; next = waiting.shift()) {
        characters -= next.length;
        const event = await options.complete(next.answer, signal);
        if (!signal.aborted) await subscriber.next(event);
      }
      if (ended && ended.length > 0) throw new StreamError(ended);
      if (ended) end(() => subscriber.complete());
    } catch (cause) {
      end(() => subscriber.fail(cause));
    } finally {
      isTelling = false;
    }
  }

  /** Closes the stream, then sends the end. */
  function end(lastWord: () => void): void {
    if (signal.aborted) return;
    close();
    lastWord();
  }

  return { close };
}
