/**
 * Runs a few tasks at a time and queues a bounded number; beyond that, callers are refused at once.
 * For work that is costly by design: load must not pile up in memory, nor one network's load delay everybody.
 */
import { AppError } from "@continuo/errors";

export interface Turnstile {
  /** Runs `work` when its turn comes. Throws AppError UNAVAILABLE, TOO_BUSY when the line is full. */
  pass<Result>(work: () => Promise<Result>): Promise<Result>;
}

export interface Turnstiles {
  /**
   * One turnstile, seen from a network. Queued networks take turns, and each fills at most a quarter of the queue;
   * undefined is this machine, which may fill all of it.
   */
  of(network: string | undefined): Turnstile;
}

const SHARE_OF_NETWORK = 0.25;

/** Runs `parallel` tasks at a time and queues `waiting`, first come first served within a network. */
export function createTurnstiles({ parallel, waiting }: { parallel: number; waiting: number }): Turnstiles {
  /** By network; the first entry is the network whose turn is next. */
  const lines = new Map<string | undefined, (() => void)[]>();
  let inLine = 0;
  let inside = 0;

  function wait(network: string | undefined): Promise<void> {
    const line = lines.get(network) ?? [];
    const most = network === undefined ? waiting : Math.ceil(waiting * SHARE_OF_NETWORK);
    if (inLine >= waiting || line.length >= most)
      throw new AppError("UNAVAILABLE", "TOO_BUSY", "Too busy right now: try again.");
    lines.set(network, line);
    inLine += 1;
    return new Promise((resolve) => line.push(resolve));
  }

  /** Hands the freed place to the next in the queue. */
  function leave(): void {
    const [next] = lines;
    if (next === undefined) {
      inside -= 1;
      return;
    }
    const [network, line] = next;
    lines.delete(network);
    const [first, ...others] = line;
    if (others.length > 0) lines.set(network, others);
    inLine -= 1;
    first?.();
  }

  return {
    of: (network) => ({
      async pass(work) {
        if (inside < parallel) inside += 1;
        else await wait(network);
        try {
          return await work();
        } finally {
          leave();
        }
      },
    }),
  };
}
