/**
 * Turns relayed texts into a stream of events; texts that arrive during a read are read together. Nothing is stored, so
 * what a slow client or an unavailable owner leaves unread is lost.
 */
import { countDropped } from "../stream-metrics.ts";
import type { Waiting } from "./cursor-stream.ts";
import type { Stream, Subscriber } from "./stream.ts";

export interface RelayPage<Event> {
  /** Whether it has nothing for this client; such a page is not passed on. */
  readonly isEmpty: boolean;
  event(): Promise<Event>;
}

export interface RelayStreamOptions<Event> {
  /** Starts listening. */
  readonly listen: (hear: (text: string) => void) => Promise<AsyncDisposable>;
  /** Opens texts in order. An error ends the stream, unless it is an outage. */
  readonly read: (texts: readonly string[], waiting: Waiting) => Promise<RelayPage<Event>>;
  readonly isOutage: (thrown: unknown) => boolean;
}

/** The most texts that the owner opens in one read. */
const MAX_AT_ONCE = 50;
/** The most texts that wait; beyond that the oldest are dropped, because newer ones supersede them. */
const MAX_WAITING = 200;

/** Opens the stream, which delivers what is sent from when it starts listening. */
export function openRelayStream<Event>(options: RelayStreamOptions<Event>, subscriber: Subscriber<Event>): Stream {
  const { read, isOutage } = options;
  const closing = new AbortController();
  const { signal } = closing;
  const reader = {
    signal,
    get isClosed() {
      return signal.aborted;
    },
  };
  const waiting: string[] = [];
  let isReading = false;
  let listening: AsyncDisposable | undefined;

  function hear(text: string): void {
    waiting.push(text);
    if (waiting.length > MAX_WAITING) {
      waiting.shift();
      countDropped({});
    }
    if (!isReading) void readOn();
  }

  /** Reads and passes events on while texts are waiting. */
  async function readOn(): Promise<void> {
    isReading = true;
    try {
      while (waiting.length > 0 && !signal.aborted) {
        const event = await nextEvent();
        if (event !== undefined && !signal.aborted) await subscriber.next(event);
      }
    } catch (cause) {
      fail(cause);
    } finally {
      isReading = false;
    }
  }

  async function nextEvent(): Promise<Event | undefined> {
    try {
      const page = await read(waiting.splice(0, MAX_AT_ONCE), reader);
      return page.isEmpty ? undefined : await page.event();
    } catch (cause) {
      if (isOutage(cause)) return undefined;
      throw cause;
    }
  }

  async function listen(): Promise<void> {
    listening = await options.listen(hear);
    if (signal.aborted) await listening[Symbol.asyncDispose]();
  }

  function close(): void {
    if (signal.aborted) return;
    closing.abort();
    void listening?.[Symbol.asyncDispose]();
  }

  function fail(cause: unknown): void {
    if (signal.aborted) return;
    close();
    subscriber.fail(cause);
  }

  listen().catch(fail);
  return { close };
}
