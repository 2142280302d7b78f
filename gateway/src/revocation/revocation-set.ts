/**
 * The sessions that ended while one of their access tokens may still be good, and the grants that a step-up replaced, in
 * memory. Not the truth (that is session's log): an entry is forgotten once no token of it can be valid any more.
 */

/** No access token lives longer. Milliseconds. */
export const LONGEST_TOKEN_LIFE_MS = 15 * 60_000;

/** How long an end is remembered: the longest life, and a minute for clocks that disagree. Milliseconds. */
export const REMEMBER_MS = LONGEST_TOKEN_LIFE_MS + 60_000;

/** Ids are those of sessions and of grants. */
export interface RevocationSet {
  add(id: string, endReason: string): void;
  /** The session is back: its end was taken back. */
  remove(id: string): void;
  /** Why it ended, or undefined when it is not known to have. */
  endReasonOf(id: string): string | undefined;
  readonly size: number;
}

/** An empty set. `now` is milliseconds on a clock that never goes back. */
export function createRevocationSet(now: () => number): RevocationSet {
  // In order of arrival, so the ones to forget are always in front.
  const ended = new Map<string, { readonly endReason: string; readonly at: number }>();

  function forget(): void {
    const horizon = now() - REMEMBER_MS;
    for (const [id, { at }] of ended) {
      if (at > horizon) return;
      ended.delete(id);
    }
  }

  return {
    add(id, endReason) {
      forget();
      if (!ended.has(id)) ended.set(id, { endReason, at: now() });
    },
    remove: (id) => void ended.delete(id),
    endReasonOf: (id) => ended.get(id)?.endReason,
    get size() {
      forget();
      return ended.size;
    },
  };
}
