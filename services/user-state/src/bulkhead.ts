/**
 * A bulkhead: so many of a kind of work at once, a short queue before them, and whoever comes beyond that is told when to
 * come again. So an overload costs some of those who ask a little time, and not everybody everything.
 */
import { AppError } from "@continuo/errors";

export interface Bulkhead {
  /**
   * Resolves when it is its turn, to what ends it; that is to be called once. Throws RATE_LIMITED, OVERLOADED with
   * `details.retryAfterMs`, also for whom nobody waits any more (`gone`) when it is their turn.
   */
  enter(gone?: AbortSignal): Promise<() => void>;
  /** Runs `work` when it is its turn. Throws what `enter` throws; then nothing was done. */
  run<Result>(work: () => Promise<Result>): Promise<Result>;
  /** How many wait for their turn. */
  waiting(): number;
}

export interface BulkheadOptions {
  /** How many at once. */
  readonly concurrency: number;
  /** How many may wait for their turn. */
  readonly queue: number;
  /** How long one waits for its turn at most. Milliseconds. */
  readonly patienceMs: number;
  /** Milliseconds, never going back. */
  readonly now: () => number;
  /** 0 to 1. */
  readonly random: () => number;
}

const MIN_RETRY_AFTER_MS = 500;
const MAX_RETRY_AFTER_MS = 60_000;
/** What the latest work counts for in the mean. */
const WEIGHT = 0.1;

export function createBulkhead(options: BulkheadOptions): Bulkhead {
  const { concurrency, queue, patienceMs, now, random } = options;
  const waiting = new Set<() => void>();
  let running = 0;
  let meanMs = 10;
  let promised = 0;

  /** Each is promised a later time than the one before, as far apart as work takes: so they do not come back together. */
  function overloaded(): AppError {
    const each = meanMs / concurrency;
    const free = now() + waiting.size * each;
    promised = Math.min(Math.max(promised, free) + each, now() + MAX_RETRY_AFTER_MS);
    const retryAfterMs = Math.round(promised - now() + MIN_RETRY_AFTER_MS * (1 + random()));
    return new AppError("RATE_LIMITED", "OVERLOADED", "The service is overloaded: try again a little later.", {
      details: { retryAfterMs },
    });
  }

  /** Resolves when it is its turn, in the order of arrival. */
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
