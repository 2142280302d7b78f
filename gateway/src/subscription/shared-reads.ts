/**
 * One read for all who ask the same at the same time. Whoever asks is answered by a read that begins afterwards, as one under
 * way may have missed what they have just heard of; and of the same question there are never two under way.
 */
import { createCounter } from "@continuo/process";
import { setImmediate as turn } from "node:timers/promises";

/** `key` says all that the answer depends on. Of those who ask together, the `read` of the first is called. */
export type ShareRead<Answer> = (key: string, read: () => Promise<Answer>) => Promise<Answer>;

interface Line<Answer> {
  /** Settles when nothing is under way. */
  idle: Promise<unknown>;
  /** Will begin then. */
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

    /** Who hears of the same thing hears in one turn. */
    async function settle(): Promise<void> {
      await turn();
      if (!line.next) lines.delete(key);
    }
  };
}

/** Who hears of the same poke asks before anything else happens. */
function allHaveAsked(): Promise<void> {
  return new Promise((resolve) => process.nextTick(resolve));
}
