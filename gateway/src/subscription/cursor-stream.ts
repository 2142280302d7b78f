/**
 * Turns reads after a cursor into a stream of events: one read at the start, one after each poke or gap, one every so
 * often in case a poke was lost. While the client is slow nothing is read, and any number of pokes is one read more.
 * While nothing happens it holds little more than its place: there are many more streams than events.
 */
import type { PokeListener } from "@continuo/signals";
import type { Rounds, Visited } from "../rounds.ts";
import { countCoalesced } from "../stream-metrics.ts";
import type { Stream, Subscriber } from "./stream.ts";

/** What a read found. `event` is asked for only when the page is passed on. */
export interface CursorPage<Event> {
  readonly to: string;
  readonly hasMore: boolean;
  readonly event: () => Promise<Event>;
}

/** Who waits for a read. */
export interface Waiting {
  /** Nobody does any more. */
  readonly isClosed: boolean;
  /** Aborted then. Made when it is first asked for. */
  readonly signal: AbortSignal;
}

/** What one stream reads. */
export interface CursorSource<Event> {
  /**
   * Reads after `cursor`, the client's or that of the page passed on last: at least as far as `heard`, the number of the poke
   * that calls for it; without one, all there is. What it throws ends the stream, unless it is an outage.
   */
  read(cursor: string | null, waiting: Waiting, heard?: number): Promise<CursorPage<Event>>;
  /** Starts listening for pokes. */
  listen(listener: PokeListener): Promise<AsyncDisposable>;
}

/** The same for all streams. */
export interface CursorStreamOptions {
  readonly isOutage: (thrown: unknown) => boolean;
  /** Twice in the time for which to trust silence. */
  readonly rechecks: Rounds;
  /** After a gap, which all streams hear at once, each reads within this time, unless a poke calls it. Milliseconds. */
  readonly gapSpreadMs: number;
  /** How long to wait after the nth failure in a row, which threw `thrown`. Milliseconds. */
  readonly backoffMs: (failures: number, thrown: unknown) => number;
  /** 0 to 1. */
  readonly random?: () => number;
}

/** Opens a stream from the client's cursor; null is the beginning. It listens first and reads second, so that nothing falls in between. */
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

/** A class, as thousands have in common what each would otherwise hold as closures of its own. */
class CursorStream<Event> implements Stream, PokeListener, Visited, Waiting {
  readonly #options: CursorStreamOptions;
  readonly #source: CursorSource<Event>;
  readonly #subscriber: Subscriber<Event>;
  #cursor: string | null;
  #isFirst = true;
  #isDue = true;
  /** The highest poke of those that the next read is due to; none when it is due to something else. */
  #heard: number | undefined;
  #isReading = false;
  /** Since it was visited last. */
  #hasRead = false;
  #isClosed = false;
  #listening: AsyncDisposable | undefined;
  #closing: AbortController | undefined;
  /** After a gap. */
  #soon: NodeJS.Timeout | undefined;
  /** After a failure. */
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

  /** Reads and passes on for as long as a read is due. */
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

  /** Not cut short by pokes: a dead owner is not asked faster because much is happening. */
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
