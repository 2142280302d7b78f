/**
 * Long polling, for clients that cannot keep a stream open: a pull that finds nothing waits for the next change. While
 * waiting it holds nothing but its own request, and the number of waiting pulls is limited.
 */
import type { Viewer } from "@continuo/access";
import { setTimeout as pause } from "node:timers/promises";
import type { PullRequest, StateBatch, Stream } from "./stream.ts";

export interface LongPoll {
  /**
   * Answers at once if there is anything new, otherwise as soon as there is, at the latest after `waitMs`. Also answers
   * at once when too many pulls are waiting. Throws what `Stream.pull` and `enter` throw.
   */
  pull(viewer: Viewer, request: PullRequest & { readonly waitMs: number }, asker?: Asker): Promise<StateBatch>;
  /** Answers all waiting pulls; from now on none waits. */
  close(): void;
}

/** The client waiting for the answer. */
interface Asker {
  /** Aborted when the client disconnects. */
  readonly signal?: AbortSignal;
  /** Resolves when the client has received the answer or disconnected. */
  readonly answered?: Promise<void>;
  /** As for `Stream.pull`. */
  readonly heard?: number | undefined;
}

interface Listener {
  onPoke(): void;
  /** Pokes may have been missed. */
  onGap(): void;
}

export interface LongPollOptions {
  readonly pull: Stream["pull"];
  /** Resolves to a release function when a read may start. */
  readonly enter: (gone?: AbortSignal) => Promise<() => void>;
  /** Subscribes to the changes of a user's state. */
  readonly subscribe: (userId: string, listener: Listener) => Promise<AsyncDisposable>;
  /** The maximum number of waiting pulls: in total, and per user. */
  readonly limits: { readonly all: number; readonly ofUser: number };
  /** Milliseconds, monotonic. */
  readonly now: () => number;
  /** 0 to 1. */
  readonly random: () => number;
}

/** A gap wakes every waiting pull, so their reads are spread over this time. Milliseconds. */
const GAP_SPREAD_MS = 2_000;

export function createLongPoll(options: LongPollOptions): LongPoll {
  const { pull, enter, subscribe, limits, now, random } = options;
  const waiting = new Map<string, Set<() => void>>();
  let count = 0;
  let isClosed = false;

  /** Returns undefined when too many pulls are waiting. */
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

  /**
   * A read that is answered holds its slot until the answer is sent: serialising a page takes longer than reading it.
   */
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
      // Subscribes before reading, so that no change is missed in between.
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

/** A change in namespaces that were not requested moves the cursor, but is no reason to answer. */
function isNews({ entries, reset, hasMore }: StateBatch): boolean {
  return entries.length > 0 || reset !== null || hasMore;
}
