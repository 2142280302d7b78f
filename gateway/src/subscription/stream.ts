/** How events come to whoever asked for them: told one by one, so that nobody has to wait for a next one that may never come. */

/** Who hears of a stream's events, from after it was opened on. Throws nothing. */
export interface Subscriber<Event> {
  /** Takes an event. The next follows when what this returns has resolved; at once when it returns nothing. */
  next(event: Event): Promise<void> | undefined;
  /** The last word: there are no more. */
  complete(): void;
  /** The last word: why there are no more. */
  fail(thrown: unknown): void;
}

/** A stream that is open, until its last word or its closing. */
export interface Stream {
  /** From then on its subscriber hears nothing, and it holds nothing. */
  close(): void;
}
