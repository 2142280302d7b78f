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
   * as many wait as may. Throws what `Stream.pull` and `enter` throw.
   */
  pull(viewer: Viewer, request: PullRequest & { readonly waitMs: number }, asker?: Asker): Promise<StateBatch>;
  /** Answers whoever waits; from now on nobody does. */
  close(): void;
}

/** Whoever waits for the answer. */
interface Asker {
  /** Aborted when they leave. */
  readonly signal?: AbortSignal;
  /** Resolves when they have it, or have left. */
  readonly answered?: Promise<void>;
  /** As `Stream.pull` takes it. */
  readonly heard?: number | undefined;
}

interface Listener {
  onPoke(): void;
  /** Pokes may have been missed. */
  onGap(): void;
}

export interface LongPollOptions {
  readonly pull: Stream["pull"];
  /** Resolves when there may be read, to what ends it. */
  readonly enter: (gone?: AbortSignal) => Promise<() => void>;
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
  const { pull, enter, subscribe, limits, now, random } = options;
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

  /** What is answered counts as being read until it is sent: to put a page into words takes longer than to find it. */
  async function read(
    viewer: Viewer,
    request: PullRequest,
    { signal, answered, heard }: Asker,
    isAnswer: (batch: StateBatch) => boolean,
  ): Promise<{ readonly batch: StateBatch; readonly isAnswer: boolean }> {
    const leave = await enter(signal);
    let until: Promise<void> | undefined;
    try {
      const batch = await pull(viewer, request, heard);
      const found = { batch, isAnswer: isAnswer(batch) };
      if (found.isAnswer) until = answered;
      return found;
    } finally {
      if (until === undefined) leave();
      else void until.then(leave);
    }
  }

  return {
    async pull(viewer, { waitMs, ...request }, asker = {}) {
      const { userId } = viewer;
      let waking = new AbortController();
      const wake = (): void => waking.abort();
      using place = waitMs > 0 ? takePlace(userId, wake) : undefined;
      if (place === undefined) return (await read(viewer, request, asker, () => true)).batch;

      const until = now() + waitMs;
      const { signal: gone } = asker;
      gone?.addEventListener("abort", wake, { once: true });
      // It listens first and reads second, so that nothing falls in between.
      await using _listening = await subscribe(userId, {
        onPoke: wake,
        onGap: () => void setTimeout(wake, random() * GAP_SPREAD_MS).unref(),
      });
      for (;;) {
        waking = new AbortController();
        const { batch, isAnswer } = await read(
          viewer,
          request,
          asker,
          (found) => isNews(found) || until - now() < 1 || isClosed || gone?.aborted === true,
        );
        if (isAnswer) return batch;
        await pause(Math.ceil(until - now()), undefined, { signal: waking.signal }).catch(() => undefined);
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
