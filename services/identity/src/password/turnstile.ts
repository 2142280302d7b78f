/**
 * Lets a few through at a time, and a bounded line wait; whoever comes after that is sent away at once.
 * For work that is costly by design: load must not turn into memory.
 */
import { AppError } from "@continuo/errors";

export interface Turnstile {
  /** Runs `work` when its turn comes. Throws AppError UNAVAILABLE, TOO_BUSY when the line is full. */
  pass<Result>(work: () => Promise<Result>): Promise<Result>;
}

/** `parallel` at a time, `waiting` in line, first come first served. */
export function createTurnstile({ parallel, waiting }: { parallel: number; waiting: number }): Turnstile {
  const line: (() => void)[] = [];
  let inside = 0;

  return {
    async pass(work) {
      if (inside < parallel) {
        inside += 1;
      } else {
        if (line.length >= waiting) throw new AppError("UNAVAILABLE", "TOO_BUSY", "Too busy right now: try again.");
        // Whoever leaves hands over their place, so `inside` stays as it is.
        await new Promise<void>((resolve) => line.push(resolve));
      }
      try {
        return await work();
      } finally {
        const next = line.shift();
        if (next) next();
        else inside -= 1;
      }
    },
  };
}
