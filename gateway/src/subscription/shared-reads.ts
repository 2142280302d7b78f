/**
 * One read for all that ask for the same thing at the same time. A request is answered by a read that starts after it,
 * because one under way may have missed the change that caused the request. There are never two reads of the same key
 * under way.
 */
import { createCounter } from "@continuo/process";
import { setImmediate as turn } from "node:timers/promises";

/**
 * `key` covers everything that the answer depends on. Of requests that share a read, the first one's `read` is called.
 */
export type ShareRead<Answer> = (key: string, read: () => Promise<Answer>) => Promise<Answer>;

interface Line<Answer> {
  /** Settles when no read is under way. */
  idle: Promise<unknown>;
  /** The read that starts then. */
  next?: Promise<Answer> | undefined;
}

const count = createCounter(
  "continuo_live_reads_total",
  "Reads that subscriptions of several sessions could share: those that were made, and those that were saved.",
  ["outcome"],
);

export function createSharedReads<Answer>(): ShareRead<Answer> {
  const lines = new Map<string, Line<Answer>>();

  return (key, read) => {
    const line = lines.get(key) ?? { idle: allHaveAsked() };
    lines.set(key, line);
    count({ outcome: line.next ? "SHARED" : "MADE" });
    line.next ??= line.idle.then(async () => {
      line.next = undefined;
      const asked = read();
      line.idle = asked.then(settle, settle);
      return asked;
    });
    return line.next;

    /**
     * All that share an answer receive it within one turn of the event loop, so what they ask for next is shared as
     * well.
     */
    async function settle(): Promise<void> {
      await turn();
      if (!line.next) lines.delete(key);
    }
  };
}

/** Resolves in the next tick, when all listeners of the same poke have asked. */
function allHaveAsked(): Promise<void> {
  return new Promise((resolve) => process.nextTick(resolve));
}
