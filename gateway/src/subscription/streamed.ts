/**
 * Events of a subscription that its owner streams by itself (`@streamed`): no cursor, nothing to catch up from. So whoever may
 * have missed one (the owner is gone, or the client too slow) is told by EVENTS_MISSED, and begins anew.
 */
import { AppError } from "@continuo/errors";
import { createCounter } from "@continuo/process";
import { EVENTS_MISSED, type EventSink, type Leave } from "../subgraph/streamed-operation.ts";
import type { SubgraphAnswer } from "../subgraph/subgraph-client.ts";
import { type SubgraphError, toSubgraphError, UNAVAILABLE } from "../subgraph/subgraph-error.ts";
import type { Stream, Subscriber } from "./stream.ts";
import { StreamError } from "./stream-error.ts";

type Sink = EventSink<SubgraphAnswer>;

/** What the owner is asked, and for whom. */
export interface StreamedQuestion {
  /** Whose it is: each may ask so much. */
  readonly sessionId: string;
  /** Who asks and what; those of one key share one operation. Undefined shares nothing. */
  readonly key: string | undefined;
  /** Begins the owner's operation. */
  readonly begin: (sink: Sink) => Leave;
}

/**
 * Joins the owner's operation, which is begun for the first and left by the last. Refused is RATE_LIMITED/TOO_MANY_OPERATIONS
 * to a session, UNAVAILABLE/GATEWAY_FULL where nobody may begin another, as its last word.
 */
export type JoinStreamed = (question: StreamedQuestion) => (sink: Sink) => Leave;

interface Operation {
  readonly sinks: Set<Sink>;
  leave: Leave;
}

/** Each may be a socket at an owner. */
const PER_SESSION = 50;
/** Of all sessions: at owners of all kinds. Who joins one that is there needs none. */
const PER_GATEWAY = 5_000;
/** For so long an owner that is away is tried again, before whoever waits is told. */
const BEGIN_WITHIN_MS = 10_000;
/** Who missed something comes back within this time, each at another. */
const RETURN_WITHIN_MS = 2_000;
/** Events that wait for a slow client, and how long they are as JSON altogether. */
const MAX_WAITING = 200;
const MAX_WAITING_CHARACTERS = 4 * 1024 * 1024;

const count = createCounter(
  "continuo_streamed_total",
  "Subscriptions that their owner streams: BEGUN there, JOINED by more who ask alike, RETRIED, BROKEN by the owner, OVERFLOWED by a slow client.",
  ["outcome"],
);

/** `backoffMs`: how long to wait after the nth failure in a row. */
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

/** For each who is told another time. Milliseconds. */
function soon(): number {
  return Math.round(Math.random() * RETURN_WITHIN_MS);
}

const lengths = new WeakMap<SubgraphAnswer, number>();

/** As JSON; reckoned once for all whom the event waits for. */
function lengthOf(answer: SubgraphAnswer): number {
  const length = lengths.get(answer) ?? JSON.stringify(answer).length;
  lengths.set(answer, length);
  return length;
}

/** Opens a stream of what `join` tells; `complete` makes an event of it. */
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
      // What can be told at once does not wait.
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

  /** Tells what waits, and the last word after it. */
  async function tellAll(): Promise<void> {
    isTelling = true;
    try {
      // Who joins may be told at once, before there is anything to leave.
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

  /** Closes, and says the last word. */
  function end(lastWord: () => void): void {
    if (signal.aborted) return;
    close();
    lastWord();
  }

  return { close };
}
