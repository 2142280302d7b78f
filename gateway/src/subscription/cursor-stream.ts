/**
 * Turns reads after a cursor into a stream of events: one read at the start, one after each poke or gap, one every so
 * often in case a poke was lost. Pull-based: while the client is slow nothing is read, and any number of pokes is one
 * read more. Not an async generator, whose `return` would wait for the next event before it lets go.
 */
import type { PokeListener } from "@continuo/signals";
import { countCoalesced } from "../stream-metrics.ts";

/** What a read found. `event` is asked for only when the page is passed on. */
export interface CursorPage<Event> {
  readonly to: string;
  readonly hasMore: boolean;
  event(): Promise<Event>;
}

export interface CursorStreamOptions<Event> {
  /** The client's cursor; null reads from the beginning. */
  readonly cursor: string | null;
  /**
   * Reads after `cursor`, the client's or that of the page passed on last. What it throws ends the stream, unless it is an
   * outage.
   */
  readonly read: (cursor: string | null, signal: AbortSignal) => Promise<CursorPage<Event>>;
  readonly isOutage: (thrown: unknown) => boolean;
  /** Starts listening for pokes. */
  readonly listen: (listener: PokeListener) => Promise<AsyncDisposable>;
  /** How long to trust silence, give or take a quarter: streams that began together do not stay together. Milliseconds. */
  readonly recheckMs: number;
  /** After a gap, which all streams hear at once, each reads within this time, unless a poke calls it. Milliseconds. */
  readonly gapSpreadMs: number;
  /** How long to wait after the nth failure in a row, which threw `thrown`. Milliseconds. */
  readonly backoffMs: (failures: number, thrown: unknown) => number;
  /** 0 to 1. */
  readonly random?: () => number;
}

/** Opens the stream: it listens first and reads second, so that nothing falls in between. */
export async function openCursorStream<Event>(
  options: CursorStreamOptions<Event>,
): Promise<AsyncIterableIterator<Event, undefined>> {
  const { read, isOutage, recheckMs, gapSpreadMs, backoffMs, random = Math.random } = options;
  const closing = new AbortController();
  const { signal } = closing;
  let { cursor } = options;
  let isFirst = true;
  let isDue = true;
  let wake: (() => void) | undefined;
  let leave: (() => void) | undefined;
  let soon: NodeJS.Timeout | undefined;
  let retry: NodeJS.Timeout | undefined;
  // One for all the stream's life, which each read moves on: to begin one is dear when there are thousands.
  const recheck = setTimeout(due, recheckMs * (0.75 + random() / 2));

  function poked(): void {
    if (isDue) countCoalesced({});
    due();
  }

  function due(): void {
    isDue = true;
    wake?.();
  }

  function dueSoon(): void {
    clearTimeout(soon);
    soon = setTimeout(due, random() * gapSpreadMs);
  }

  async function listen(): Promise<AsyncDisposable> {
    try {
      return await options.listen({ onPoke: poked, onGap: dueSoon });
    } catch (cause) {
      clearTimeout(recheck);
      throw cause;
    }
  }

  const listening = await listen();

  async function close(): Promise<void> {
    if (signal.aborted) return;
    closing.abort();
    for (const timer of [recheck, soon, retry]) clearTimeout(timer);
    leave?.();
    await listening[Symbol.asyncDispose]();
  }

  function reasonToRead(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    wake = resolve;
    return promise;
  }

  /** Not cut short by pokes: a dead owner is not asked faster because much is happening. */
  function backOff(ms: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    retry = setTimeout(resolve, ms);
    return promise;
  }

  /** The next page to pass on, or undefined when the stream has closed; nobody waits for it then. */
  async function nextPage(): Promise<CursorPage<Event> | undefined> {
    for (let failures = 0; !signal.aborted;) {
      if (!isDue) {
        await reasonToRead();
        continue;
      }
      isDue = false;
      recheck.refresh();
      try {
        const page = await read(cursor, signal);
        failures = 0;
        const isNews = isFirst || page.to !== cursor;
        if (!isNews) continue;
        isFirst = false;
        isDue ||= page.hasMore;
        cursor = page.to;
        return page;
      } catch (cause) {
        if (!isOutage(cause)) throw cause;
        isDue = true;
        failures += 1;
        if (!signal.aborted) await backOff(backoffMs(failures, cause));
      }
    }
    return undefined;
  }

  async function nextEvent(): Promise<IteratorResult<Event, undefined>> {
    try {
      const page = await nextPage();
      return page && !signal.aborted ? { done: false, value: await page.event() } : { done: true, value: undefined };
    } catch (cause) {
      leave = undefined;
      await close();
      throw cause;
    }
  }

  const stream: AsyncIterableIterator<Event, undefined> = {
    [Symbol.asyncIterator]: () => stream,
    next() {
      const { promise, resolve, reject } = Promise.withResolvers<IteratorResult<Event, undefined>>();
      // Whoever leaves waits no longer, whatever is under way.
      leave = () => resolve({ done: true, value: undefined });
      nextEvent().then(resolve, reject);
      return promise;
    },
    async return() {
      await close();
      return { done: true, value: undefined };
    },
  };
  return stream;
}
