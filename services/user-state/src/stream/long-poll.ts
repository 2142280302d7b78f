/**
 * Long-polling: a pull that finds nothing waits for the next change, for those who cannot keep a stream open. While it waits
 * it holds nothing but its own request; and only so many wait at once.
 */
import type { Viewer } from "@continuo/access";
import { setTimeout as pause } from "node:timers/promises";
import type { PullRequest, StateBatch, Stream } from "./stream.ts";

export interface LongPoll {
  /**
   * Answers at once when there is something to tell, otherwise when there is, at the latest after `waitMs`. At once too when
   * as many wait as may. `gone`: nobody waits for the answer any more. Throws what `Stream.pull` throws.
   */
  pull(viewer: Viewer, request: PullRequest & { readonly waitMs: number }, gone?: AbortSignal): Promise<StateBatch>;
  /** Answers whoever waits; from now on nobody does. */
  close(): void;
}

interface Listener {
  onPoke(): void;
  /** Pokes may have been missed. */
  onGap(): void;
}

export interface LongPollOptions {
  readonly pull: (viewer: Viewer, request: PullRequest, gone?: AbortSignal) => ReturnType<Stream["pull"]>;
  /** Hears of the changes of a user's state. */
  readonly subscribe: (userId: string, listener: Listener) => Promise<AsyncDisposable>;
  /** How many pulls wait at once: of all users, and of one. */
  readonly limits: { readonly all: number; readonly ofUser: number };
  /** Milliseconds, never going back. */
  readonly now: () => number;
  /** 0 to 1. */
  readonly random: () => number;
}

/** A gap wakes everybody: each reads at a time of its own. Milliseconds. */
const GAP_SPREAD_MS = 2_000;

export function createLongPoll(options: LongPollOptions): LongPoll {
  const { pull, subscribe, limits, now, random } = options;
  const waiting = new Map<string, Set<() => void>>();
  let count = 0;
  let isClosed = false;

  /** Undefined when as many wait as may. */
  function takePlace(userId: string, wake: () => void): Disposable | undefined {
    const ofUser = waiting.get(userId) ?? new Set();
    if (isClosed || count >= limits.all || ofUser.size >= limits.ofUser) return undefined;
    waiting.set(userId, ofUser.add(wake));
    count += 1;
    return {
      [Symbol.dispose]() {
        count -= 1;
        ofUser.delete(wake);
        if (ofUser.size === 0) waiting.delete(userId);
      },
    };
  }

  return {
    async pull(viewer, { waitMs, ...request }, gone) {
      const { userId } = viewer;
      let waking = new AbortController();
      const wake = (): void => waking.abort();
      using place = waitMs > 0 ? takePlace(userId, wake) : undefined;
      if (place === undefined) return pull(viewer, request, gone);

      const until = now() + waitMs;
      gone?.addEventListener("abort", wake, { once: true });
      // It listens first and reads second, so that nothing falls in between.
      await using _listening = await subscribe(userId, {
        onPoke: wake,
        onGap: () => void setTimeout(wake, random() * GAP_SPREAD_MS).unref(),
      });
      for (;;) {
        waking = new AbortController();
        const batch = await pull(viewer, request, gone);
        const left = until - now();
        if (isNews(batch) || left <= 0 || isClosed || gone?.aborted) return batch;
        await pause(left, undefined, { signal: waking.signal }).catch(() => undefined);
        if (gone?.aborted) return batch;
      }
    },
    close() {
      isClosed = true;
      for (const ofUser of waiting.values()) for (const wake of ofUser) wake();
    },
  };
}

/** A change of namespaces that were not asked for moves the cursor, and is no reason to answer. */
function isNews({ entries, reset, hasMore }: StateBatch): boolean {
  return entries.length > 0 || reset !== null || hasMore;
}
