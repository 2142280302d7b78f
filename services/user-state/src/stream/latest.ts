/**
 * The latest change that this process committed of each person, for a moment: streams that stood right before it are told of
 * it without a read. What they are told is what a read at its commit would have found, so it is only for those to whom
 * that is new enough; not a cache of what stands.
 */
import type { Before, Settlement } from "../entry/push.ts";
import type { Cursor } from "./cursor.ts";
import { PAGE_BYTES, type Page, type PullRequest, type StateEntry } from "./stream.ts";

export interface Latest {
  /** Remembers what a push met and made, once it is committed. */
  keep(userId: string, before: Before, settlement: Settlement): void;
  /** All after the cursor, which is at least as new as `heard`; undefined when that is not known here. */
  after(userId: string, cursor: Pick<Cursor, "rev">, heard: number, request: PullRequest): Page | undefined;
}

/** The streams of this process hear of it at once. Milliseconds. */
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
      // It may be over before it is told.
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
