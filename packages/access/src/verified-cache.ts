import { LRUCache } from "lru-cache";

/** Tokens and statements that were verified, under a key that only the same one has. Times are NumericDate seconds. */
export interface VerifiedCache<Verified> {
  /** Undefined if it is unknown. It may have expired. */
  get(key: string): Verified | undefined;
  set(key: string, verified: Verified, now: number): void;
  delete(key: string): void;
}

/**
 * Keeps the `max` used most recently. Each addition removes up to two expired entries from the least recently used
 * ones, so a quiet process does not hold on to what a busy hour left behind.
 */
export function createVerifiedCache<Verified extends { readonly exp: number }>(max: number): VerifiedCache<Verified> {
  const cache = new LRUCache<string, Verified>({ max });

  function removeOldest(now: number): void {
    const { done, value: oldest } = cache.rkeys().next();
    if (!done && (cache.peek(oldest)?.exp ?? 0) <= now) cache.delete(oldest);
  }

  return {
    get: (key) => cache.get(key),
    set(key, verified, now) {
      cache.set(key, verified);
      removeOldest(now);
      removeOldest(now);
    },
    delete: (key) => void cache.delete(key),
  };
}
