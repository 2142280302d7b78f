/**
 * Turns texts of a relay into a stream of events: those that came while the last were read are read together. There is
 * nothing to catch up from, so what a slow client or an owner that is away leaves behind is gone.
 */
import { countDropped } from "../stream-metrics.ts";

export interface RelayPage<Event> {
  /** Nothing in it is for this client: it is not passed on. */
  readonly isEmpty: boolean;
  event(): Promise<Event>;
}

export interface RelayStreamOptions<Event> {
  /** Starts listening. */
  readonly listen: (hear: (text: string) => void) => Promise<AsyncDisposable>;
  /** Opens texts, in their order. What it throws ends the stream, unless it is an outage. */
  readonly read: (texts: readonly string[], signal: AbortSignal) => Promise<RelayPage<Event>>;
  readonly isOutage: (thrown: unknown) => boolean;
}

/** What the owner opens in one go. */
const MAX_AT_ONCE = 50;
/** Beyond these the oldest are dropped: a newer one makes them stale. */
const MAX_WAITING = 200;

/** Opens the stream: whatever is sent from then on may come. */
export async function openRelayStream<Event>(
  options: RelayStreamOptions<Event>,
): Promise<AsyncIterableIterator<Event, undefined>> {
  const { read, isOutage } = options;
  const closing = new AbortController();
  const { signal } = closing;
  const waiting: string[] = [];
  let wake = (): void => undefined;

  const listening = await options.listen((text) => {
    waiting.push(text);
    if (waiting.length > MAX_WAITING) {
      waiting.shift();
      countDropped({});
    }
    wake();
  });

  async function close(): Promise<void> {
    if (signal.aborted) return;
    closing.abort();
    wake();
    await listening[Symbol.asyncDispose]();
  }

  /** The next event, or undefined when the stream has closed. */
  async function nextEvent(): Promise<Event | undefined> {
    while (!signal.aborted) {
      if (waiting.length === 0) {
        const { promise, resolve } = Promise.withResolvers<void>();
        wake = resolve;
        await promise;
        continue;
      }
      try {
        const page = await read(waiting.splice(0, MAX_AT_ONCE), signal);
        if (!page.isEmpty) return await page.event();
      } catch (cause) {
        if (!signal.aborted && !isOutage(cause)) throw cause;
      }
    }
    return undefined;
  }

  const stream: AsyncIterableIterator<Event, undefined> = {
    [Symbol.asyncIterator]: () => stream,
    async next() {
      try {
        const event = await nextEvent();
        return event === undefined || signal.aborted ? { done: true, value: undefined } : { done: false, value: event };
      } catch (cause) {
        await close();
        throw cause;
      }
    },
    async return() {
      await close();
      return { done: true, value: undefined };
    },
  };
  return stream;
}
