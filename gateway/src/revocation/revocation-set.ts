/**
 * In memory: sessions that ended while one of their access tokens may still be valid, and grants that a step-up
 * replaced. Not the source of truth (that is session's log): an entry is forgotten once none of its tokens can be
 * valid.
 */

/** The longest life of an access token. Milliseconds. */
export const LONGEST_TOKEN_LIFE_MS = 15 * 60_000;

/** How long an entry is remembered: the longest token life, plus a minute for clock skew. Milliseconds. */
export const REMEMBER_MS = LONGEST_TOKEN_LIFE_MS + 60_000;

/** Ids are of sessions and of grants. */
export interface RevocationSet {
  add(id: string, endReason: string): void;
  /** Removes a session whose end was taken back. */
  remove(id: string): void;
  /** Why it ended; undefined if it is not known to have ended. */
  endReasonOf(id: string): string | undefined;
  readonly size: number;
}

/** Creates an empty set. `now` is milliseconds on a monotonic clock. */
export function createRevocationSet(now: () => number): RevocationSet {
  // In insertion order, so the oldest entries come first.
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
