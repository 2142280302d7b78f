/**
 * Lets a few through at a time, and a bounded line wait; whoever comes after that is sent away at once.
 * For work that is costly by design: load must not turn into memory, nor one network's into everybody's wait.
 */
import { AppError } from "@continuo/errors";

export interface Turnstile {
  /** Runs `work` when its turn comes. Throws AppError UNAVAILABLE, TOO_BUSY when the line is full. */
  pass<Result>(work: () => Promise<Result>): Promise<Result>;
}

export interface Turnstiles {
  /** The same turnstile for all; networks in line take turns, and one has at most a quarter of the line. Undefined: this machine. */
  of(network: string | undefined): Turnstile;
}

const SHARE_OF_NETWORK = 0.25;

/** `parallel` at a time, `waiting` in line, of each network first come first served. */
export function createTurnstiles({ parallel, waiting }: { parallel: number; waiting: number }): Turnstiles {
  /** By network, whose turn is next first. */
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

  /** Whoever leaves hands over their place. */
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
