/**
 * The sessions that ended while one of their access tokens may still be good, in memory.
 * Not the truth (that is session's log): an entry is forgotten once no token of the session can be valid any more.
 */

/** No access token lives longer. Milliseconds. */
export const LONGEST_TOKEN_LIFE_MS = 15 * 60_000;

/** How long an ended session is remembered: the longest life, and a minute for clocks that disagree. Milliseconds. */
const REMEMBER_MS = LONGEST_TOKEN_LIFE_MS + 60_000;

export interface RevocationSet {
  add(sessionId: string, endReason: string): void;
  /** The session is back: its end was taken back. */
  remove(sessionId: string): void;
  /** Why the session ended, or undefined when it is not known to have. */
  endReasonOf(sessionId: string): string | undefined;
  readonly size: number;
}

/** An empty set. `now` is milliseconds on a clock that never goes back. */
export function createRevocationSet(now: () => number): RevocationSet {
  // In order of arrival, so the ones to forget are always in front.
  const ended = new Map<string, { readonly endReason: string; readonly at: number }>();

  function forget(): void {
    const horizon = now() - REMEMBER_MS;
    for (const [sessionId, { at }] of ended) {
      if (at > horizon) return;
      ended.delete(sessionId);
    }
  }

  return {
    add(sessionId, endReason) {
      forget();
      if (!ended.has(sessionId)) ended.set(sessionId, { endReason, at: now() });
    },
    remove: (sessionId) => void ended.delete(sessionId),
    endReasonOf: (sessionId) => ended.get(sessionId)?.endReason,
    get size() {
      forget();
      return ended.size;
    },
  };
}
