/**
 * How events reach a subscriber: pushed one by one, so that nothing stays suspended waiting for an event that may never
 * come.
 */

/** Receives a stream's events, from after it was opened. Must not throw. */
export interface Subscriber<Event> {
  /** Receives an event. The next one follows when the returned promise resolves, or at once if there is none. */
  next(event: Event): Promise<void> | undefined;
  /** Ends the stream: there are no more events. */
  complete(): void;
  /** Ends the stream with the reason. */
  fail(thrown: unknown): void;
}

/** An open stream, until its subscriber is told the end or it is closed. */
export interface Stream {
  /** Ends the stream: the subscriber receives nothing more, and the stream holds nothing. */
  close(): void;
}
