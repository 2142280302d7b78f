/**
 * A line: one connection that is reopened, with backoff, whenever it drops or stops answering.
 * Not a pool, and it carries no state over: `open` has to subscribe again each time.
 */
import { setTimeout as pause } from "node:timers/promises";
import type { Logger } from "@continuo/process";

/** One open connection: `closed` settles when it is gone, `probe` rejects when it no longer answers. */
export interface OpenLine extends AsyncDisposable {
  readonly closed: Promise<void>;
  probe(): Promise<void>;
}

export interface LineOptions {
  /** Opens a connection, ready to receive; rejects within seconds when it cannot. */
  readonly open: () => Promise<OpenLine>;
  /** Called each time the line opens: anything sent while it was down is lost. */
  readonly onOpen: () => void;
  readonly logger: Logger;
  /** How often a silent connection is probed. Milliseconds. */
  readonly probeEveryMs?: number;
  readonly random?: () => number;
}

const BACKOFF_BASE_MS = 100;
const BACKOFF_CAP_MS = 5_000;

/** Milliseconds to wait after `failures` failed attempts in a row: full jitter, doubling up to 5 s. */
export function backoffMs(failures: number, random: () => number): number {
  return random() * Math.min(BACKOFF_CAP_MS, BACKOFF_BASE_MS * 2 ** failures);
}

/** Resolves after the first attempt, successful or not: a line that is down at the start comes up by itself. */
export async function startLine(options: LineOptions): Promise<AsyncDisposable> {
  const { open, onOpen, logger, probeEveryMs = 10_000, random = Math.random } = options;
  const stopping = new AbortController();
  const attempted = Promise.withResolvers<void>();

  /** Probes repeatedly, one probe at a time, until `stopped`. */
  async function probe(line: OpenLine, stopped: AbortSignal): Promise<void> {
    for (;;) {
      await pause(probeEveryMs, undefined, { signal: stopped }).catch(() => undefined);
      if (stopped.aborted) return;
      await line.probe();
    }
  }

  async function untilLost(line: OpenLine): Promise<void> {
    const lost = Promise.withResolvers<void>();
    const stop = (): void => lost.resolve();
    const stopped = new AbortController();
    stopping.signal.addEventListener("abort", stop);
    void line.closed.then(() => lost.reject(new Error("the connection was closed")));
    void probe(line, stopped.signal).catch(lost.reject);
    try {
      if (stopping.signal.aborted) stop();
      await lost.promise;
    } finally {
      stopped.abort();
      stopping.signal.removeEventListener("abort", stop);
    }
  }

  async function keepOpen(): Promise<void> {
    let failures = 0;
    while (!stopping.signal.aborted) {
      try {
        await using line = await open();
        failures = 0;
        onOpen();
        attempted.resolve();
        await untilLost(line);
      } catch (cause) {
        const delayMs = Math.round(backoffMs(failures, random));
        failures += 1;
        attempted.resolve();
        logger.warn({ err: cause, failures, delayMs }, "signals are down: connecting again");
        await pause(delayMs, undefined, { signal: stopping.signal }).catch(() => undefined);
      }
    }
  }

  const kept = keepOpen();
  await attempted.promise;
  return {
    async [Symbol.asyncDispose]() {
      stopping.abort();
      await kept;
    },
  };
}
