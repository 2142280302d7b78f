/**
 * A poke says "this topic is now at that number": look again. It carries no data and may be lost;
 * the truth is in Postgres. Not a queue: nobody stores a poke for later (that is what jobs are for).
 */

export interface PokeListener {
  /** The topic is at `number` or beyond. */
  onPoke(number: number): void;
  /** Pokes may have been missed: read again from Postgres. */
  onGap(): void;
}

/** Pokes between all processes of one installation. */
export interface Pokes extends AsyncDisposable {
  /**
   * Tells every subscriber that `topic` is now at `number` (a safe integer). Best effort: resolves when the poke is on
   * its way; a bus that is down is logged, not thrown. Pokes of one topic that pile up may arrive as one, with the
   * highest number. Throws UNAVAILABLE/POKES_CLOSED after disposal.
   */
  publish(topic: string, number: number): Promise<void>;
  /**
   * Once resolved, the listener gets every later poke of `topic`, or a gap. When the bus is down it resolves all the
   * same, and the gap is reported when the bus is back: subscribe first, read second. Throws UNAVAILABLE/POKES_CLOSED
   * after disposal.
   */
  subscribe(topic: string, listener: PokeListener): Promise<AsyncDisposable>;
}
