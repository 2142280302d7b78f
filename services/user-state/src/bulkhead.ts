/**
 * A bulkhead: limits the concurrency of one kind of work, with a short queue before it; requests beyond the queue are
 * told when to retry. An overload then costs some callers a little time instead of failing everybody.
 */
import { AppError } from "@continuo/errors";

export interface Bulkhead {
  /**
   * Resolves to a release function when a slot is free; call it exactly once. Throws RATE_LIMITED, OVERLOADED with
   * `details.retryAfterMs`, also when the caller has left (`gone`) by the time the slot is free.
   */
  enter(gone?: AbortSignal): Promise<() => void>;
  /** Runs `work` in a slot. Throws what `enter` throws, and then `work` has not run. */
  run<Result>(work: () => Promise<Result>): Promise<Result>;
  /** How many wait for their turn. */
  waiting(): number;
}

export interface BulkheadOptions {
  /** The maximum concurrency. */
  readonly concurrency: number;
  /** The maximum length of the queue. */
  readonly queue: number;
  /** The maximum wait for a slot, in milliseconds. */
  readonly patienceMs: number;
  /** Milliseconds, monotonic. */
  readonly now: () => number;
  /** 0 to 1. */
  readonly random: () => number;
}

const MIN_RETRY_AFTER_MS = 500;
const MAX_RETRY_AFTER_MS = 60_000;
/** The weight of the latest duration in the moving average. */
const WEIGHT = 0.1;

export function createBulkhead(options: BulkheadOptions): Bulkhead {
  const { concurrency, queue, patienceMs, now, random } = options;
  const waiting = new Set<() => void>();
  let running = 0;
  let meanMs = 10;
  let promised = 0;

  /**
   * Each rejected caller gets a later retry time than the one before, spaced by the mean time between free slots, so
   * they do not all return at once.
   */
  function overloaded(): AppError {
    const each = meanMs / concurrency;
    const free = now() + waiting.size * each;
    promised = Math.min(Math.max(promised, free) + each, now() + MAX_RETRY_AFTER_MS);
    const retryAfterMs = Math.round(promised - now() + MIN_RETRY_AFTER_MS * (1 + random()));
    return new AppError("RATE_LIMITED", "OVERLOADED", "The service is overloaded: try again a little later.", {
      details: { retryAfterMs },
    });
  }

  /** Resolves when a slot is free, in arrival order. */
  async function turn(): Promise<void> {
    if (running < concurrency) {
      running += 1;
      return;
    }
    if (waiting.size >= queue) throw overloaded();
    await new Promise<void>((resolve, reject) => {
      function admit(): void {
        clearTimeout(timer);
        resolve();
      }
      const timer = setTimeout(() => {
        waiting.delete(admit);
        reject(overloaded());
      }, patienceMs);
      waiting.add(admit);
    });
  }

  function leave(): void {
    const [next] = waiting;
    if (next === undefined) running -= 1;
    else {
      waiting.delete(next);
      next();
    }
  }

  async function enter(gone?: AbortSignal): Promise<() => void> {
    await turn();
    if (gone?.aborted) {
      leave();
      throw overloaded();
    }
    const startedAt = now();
    return () => {
      meanMs += WEIGHT * (now() - startedAt - meanMs);
      leave();
    };
  }

  return {
    enter,
    waiting: () => waiting.size,
    async run(work) {
      const end = await enter();
      try {
        return await work();
      } finally {
        end();
      }
    },
  };
}
