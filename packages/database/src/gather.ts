/**
 * Group commit for statements: calls that come while one is under way wait for it and then go together.
 * Under load a database and its clients spend more on how many statements there are than on how long they are, and
 * statements that queue for one row (the head of a log) would each commit alone.
 */
import DataLoader from "dataloader";

export interface GatherOptions {
  /** How many calls go together at most. */
  readonly atMost?: number;
  /** How long calls wait for the statement before theirs; one that hangs holds nobody up for longer. Milliseconds. */
  readonly patienceMs?: number;
}

/**
 * `run` answers calls in their order; a call answered by an Error rejects with it. One that throws fails all that went
 * together, so it must throw for an outage only.
 * A call that comes while none is under way goes at once, with those of the same turn of the event loop.
 */
export function gather<Call, Answer>(
  run: (calls: readonly Call[]) => Promise<readonly (Answer | Error)[]>,
  { atMost = 64, patienceMs = 50 }: GatherOptions = {},
): (call: Call) => Promise<Answer> {
  /** Each begins its calls, once. */
  const waiting = new Set<() => void>();
  let underWay = 0;

  function schedule(go: () => void): void {
    if (underWay === 0) {
      setImmediate(go);
      return;
    }
    const begin = (): void => {
      clearTimeout(patience);
      waiting.delete(begin);
      go();
    };
    const patience = setTimeout(begin, patienceMs);
    waiting.add(begin);
  }

  const loader = new DataLoader<Call, Answer>(
    async (calls) => {
      underWay += 1;
      try {
        return await run(calls);
      } finally {
        underWay -= 1;
        const [next] = waiting;
        if (underWay === 0) next?.();
      }
    },
    { cache: false, maxBatchSize: atMost, batchScheduleFn: schedule },
  );
  return (call) => loader.load(call);
}
