/**
 * Holds the latest change that this process committed for each user, briefly: streams that were positioned right before
 * it get it without a read. They get what a read at its commit would have returned, so it is only for readers that
 * accept that; it is not a cache of the current state.
 */
import type { Before, Settlement } from "../entry/push.ts";
import type { Cursor } from "./cursor.ts";
import { PAGE_BYTES, type Page, type PullRequest, type StateEntry } from "./stream.ts";

export interface Latest {
  /** Keeps what a push met and changed, once it is committed. */
  keep(userId: string, before: Before, settlement: Settlement): void;
  /** Everything after the cursor, at least as new as `heard`; undefined when this process does not have it. */
  after(userId: string, cursor: Pick<Cursor, "rev">, heard: number, request: PullRequest): Page | undefined;
}

/** The streams of this process are notified at once. Milliseconds. */
const KEPT_MS = 100;

interface Kept {
  readonly from: number;
  readonly head: Page["head"];
  readonly entries: readonly StateEntry[];
  readonly bytes: number;
}

export function createLatest(): Latest {
  const byUser = new Map<string, Kept>();

  return {
    keep(userId, { epoch, rev: from, prunedRev }, { rev, serverNow, changes }) {
      // It may expire before it is read.
      if (changes.some(({ expiresAt }) => expiresAt !== null)) return;
      const kept = {
        from,
        head: { epoch, rev, prunedRev, serverNow },
        entries: changes.toSorted((a, b) => a.rev - b.rev),
        bytes: changes.reduce((sum, { bytes }) => sum + bytes, 0),
      };
      byUser.set(userId, kept);
      setTimeout(() => {
        if (byUser.get(userId) === kept) byUser.delete(userId);
      }, KEPT_MS).unref();
    },

    after(userId, cursor, heard, { namespaces, clientId, first }) {
      const kept = byUser.get(userId);
      if (kept === undefined || kept.from !== cursor.rev || kept.head.rev < heard) return undefined;
      if (clientId !== undefined || kept.bytes > PAGE_BYTES) return undefined;
      const entries = kept.entries.filter(({ namespace }) => namespaces?.includes(namespace) ?? true);
      return entries.length > first ? undefined : { head: kept.head, replica: undefined, entries, hasMore: false };
    },
  };
}
