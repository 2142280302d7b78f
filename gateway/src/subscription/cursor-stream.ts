/**
 * Turns reads after a cursor into a stream of events: one read at the start, one after each poke or gap, and periodic
 * ones in case a poke was lost. While the client is slow nothing is read, and any number of pokes causes one more read.
 * An idle stream holds little more than its position, because there are many more streams than events.
 */
import type { PokeListener } from "@continuo/signals";
import type { Rounds, Visited } from "../rounds.ts";
import { countCoalesced } from "../stream-metrics.ts";
import type { Stream, Subscriber } from "./stream.ts";

/** The result of a read. `event` is called only if the page is passed on. */
export interface CursorPage<Event> {
  readonly to: string;
  readonly hasMore: boolean;
  readonly event: () => Promise<Event>;
}

/** The stream that waits for a read. */
export interface Waiting {
  /** Whether the stream is closed. */
  readonly isClosed: boolean;
  /** Aborted when the stream closes. Created at first use. */
  readonly signal: AbortSignal;
}

/** The source of one stream. */
export interface CursorSource<Event> {
  /**
   * Reads after `cursor`, which is the client's or that of the last page passed on. The answer must include the change
   * of `heard`, the number of the poke that caused the read; without it, everything there is. An error ends the stream,
   * unless it is an outage.
   */
  read(cursor: string | null, waiting: Waiting, heard?: number): Promise<CursorPage<Event>>;
  /** Starts listening for pokes. */
  listen(listener: PokeListener): Promise<AsyncDisposable>;
}

/** Options that all streams share. */
export interface CursorStreamOptions {
  readonly isOutage: (thrown: unknown) => boolean;
  /** Visits each stream twice per recheck interval, the longest time without a read. */
  readonly rechecks: Rounds;
  /**
   * All streams learn of a gap at once; each reads at a random time within this period, unless it reads sooner for a
   * reason other than a poke. Milliseconds.
   */
  readonly gapSpreadMs: number;
  /** The delay after the nth consecutive failure, which threw `thrown`. Milliseconds. */
  readonly backoffMs: (failures: number, thrown: unknown) => number;
  /** A random number from 0 to 1. */
  readonly random?: () => number;
}

/**
 * Opens a stream at the client's cursor; null is the beginning. Subscribes to pokes before the first read, so that no
 * change is missed.
 */
export function openCursorStream<Event>(
  options: CursorStreamOptions,
  source: CursorSource<Event>,
  cursor: string | null,
  subscriber: Subscriber<Event>,
): Stream {
  const stream = new CursorStream(options, source, cursor, subscriber);
  void stream.open();
  return stream;
}

/** A class, because thousands of streams then share methods that would otherwise be closures for each. */
class CursorStream<Event> implements Stream, PokeListener, Visited, Waiting {
  readonly #options: CursorStreamOptions;
  readonly #source: CursorSource<Event>;
  readonly #subscriber: Subscriber<Event>;
  #cursor: string | null;
  #isFirst = true;
  #isDue = true;
  /** The highest poke number that the next read must include; undefined if something else caused the read. */
  #heard: number | undefined;
  #isReading = false;
  /** Whether it has read since its last visit. */
  #hasRead = false;
  #isClosed = false;
  #listening: AsyncDisposable | undefined;
  #closing: AbortController | undefined;
  /** The delayed read after a gap. */
  #soon: NodeJS.Timeout | undefined;
  /** The backoff after a failure. */
  #retry: NodeJS.Timeout | undefined;

  constructor(
    options: CursorStreamOptions,
    source: CursorSource<Event>,
    cursor: string | null,
    subscriber: Subscriber<Event>,
  ) {
    this.#options = options;
    this.#source = source;
    this.#cursor = cursor;
    this.#subscriber = subscriber;
  }

  async open(): Promise<void> {
    try {
      const listening = await this.#source.listen(this);
      if (this.#isClosed) return await listening[Symbol.asyncDispose]();
      this.#listening = listening;
    } catch (cause) {
      return this.#fail(cause);
    }
    this.#options.rechecks.join(this);
    await this.#read();
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  get signal(): AbortSignal {
    this.#closing ??= new AbortController();
    if (this.#isClosed) this.#closing.abort();
    return this.#closing.signal;
  }

  onPoke(number: number): void {
    if (this.#isDue) countCoalesced({});
    this.#due(number);
  }

  onGap(): void {
    const { gapSpreadMs, random = Math.random } = this.#options;
    clearTimeout(this.#soon);
    this.#soon = setTimeout(() => this.#due(), random() * gapSpreadMs);
  }

  visit(): void {
    if (this.#hasRead) this.#hasRead = false;
    else this.#due();
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#closing?.abort();
    clearTimeout(this.#soon);
    clearTimeout(this.#retry);
    this.#options.rechecks.leave(this);
    void this.#listening?.[Symbol.asyncDispose]();
  }

  #due(heard?: number): void {
    const known = this.#isDue ? this.#heard : heard;
    this.#heard = heard === undefined || known === undefined ? undefined : Math.max(heard, known);
    this.#isDue = true;
    if (!this.#isReading && this.#listening) void this.#read();
  }

  /** Reads and passes pages on while a read is due. */
  async #read(): Promise<void> {
    this.#isReading = true;
    try {
      for (let failures = 0; this.#isDue && !this.#isClosed;) {
        const heard = this.#heard;
        this.#isDue = false;
        this.#hasRead = true;
        if (heard === undefined) clearTimeout(this.#soon);
        try {
          const page = await this.#source.read(this.#cursor, this, heard);
          failures = 0;
          if (!this.#isFirst && page.to === this.#cursor) continue;
          const event = await page.event();
          if (this.#isClosed) return;
          this.#isFirst = false;
          this.#isDue ||= page.hasMore;
          this.#cursor = page.to;
          const room = this.#subscriber.next(event);
          if (room) await room;
        } catch (cause) {
          if (!this.#options.isOutage(cause)) throw cause;
          this.#isDue = true;
          this.#heard = undefined;
          failures += 1;
          if (!this.#isClosed) await this.#backOff(this.#options.backoffMs(failures, cause));
        }
      }
    } catch (cause) {
      this.#fail(cause);
    } finally {
      this.#isReading = false;
      this.#closing = undefined;
    }
  }

  /** Pokes do not shorten the backoff: a failing owner must not be called more often because there are many changes. */
  #backOff(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.#retry = setTimeout(resolve, ms);
    });
  }

  #fail(cause: unknown): void {
    if (this.#isClosed) return;
    this.close();
    this.#subscriber.fail(cause);
  }
}
