/**
 * Group commit for statements: calls that come while one is under way wait for it and then go together.
 * Under load a database and its clients spend more on how many statements there are than on how long they are, and
 * statements that queue for one row (the head of a log) would each commit alone.
 * A process that is short of time takes in more calls before it sends the next, and so has fewer to send.
 */
import { setImmediate as turn } from "node:timers/promises";

export interface GatherOptions {
  /** How many calls go together at most. */
  readonly atMost?: number;
  /** How long calls wait for the statement before theirs; one that hangs holds nobody up for longer. Milliseconds. */
  readonly patienceMs?: number;
  /**
   * Half of the calls that wait go together, and no fewer than eight: while Postgres works on those, this process answers the
   * ones before and takes in the next. If all went, one would always be idle while the other works. For statements that take
   * Postgres about as long as a request takes this process, of which each makes one call; else fewer statements are better.
   */
  readonly inHalves?: boolean;
}

/** A statement for fewer would cost more than it keeps busy. */
const LEAST_OF_HALF = 8;

interface Waiting<Call, Answer> extends PromiseWithResolvers<Answer> {
  readonly call: Call;
}

/**
 * `run` answers calls in their order; a call answered by an Error rejects with it. One that throws fails all that went
 * together, so it must throw for an outage only.
 * A call that comes while none is under way goes at once, with those of the same turn of the event loop.
 */
export function gather<Call, Answer>(
  run: (calls: readonly Call[]) => Promise<readonly (Answer | Error)[]>,
  { atMost = 64, patienceMs = 50, inHalves = false }: GatherOptions = {},
): (call: Call) => Promise<Answer> {
  const waiting: Waiting<Call, Answer>[] = [];
  let underWay = 0;
  let soon: NodeJS.Immediate | undefined;
  let patience: NodeJS.Timeout | undefined;

  function schedule(): void {
    if (underWay === 0) soon ??= setImmediate(begin);
    else patience ??= setTimeout(begin, patienceMs);
  }

  /** With somebody waiting. */
  function begin(): void {
    clearImmediate(soon);
    clearTimeout(patience);
    [soon, patience] = [undefined, undefined];
    const share = inHalves ? Math.max(LEAST_OF_HALF, Math.ceil(waiting.length / 2)) : waiting.length;
    void send(waiting.splice(0, Math.min(share, atMost)));
    if (waiting.length > 0) schedule();
  }

  async function send(together: readonly Waiting<Call, Answer>[]): Promise<void> {
    underWay += 1;
    const [outcome] = await Promise.allSettled([answersTo(together.map(({ call }) => call))]);
    underWay -= 1;
    if (underWay === 0 && waiting.length > 0) {
      if (!inHalves) schedule();
      else {
        begin();
        // Else what these answers cause would come before the next statement leaves, and Postgres would wait for that.
        await turn();
      }
    }
    if (outcome.status === "rejected") return together.forEach(({ reject }) => reject(outcome.reason));
    outcome.value.forEach((answer, place) => {
      if (answer instanceof Error) together[place]?.reject(answer);
      else together[place]?.resolve(answer);
    });
  }

  async function answersTo(calls: readonly Call[]): Promise<readonly (Answer | Error)[]> {
    const answers = await run(calls);
    if (answers.length !== calls.length) throw new Error("there are not as many answers as calls");
    return answers;
  }

  return (call) => {
    const one = { call, ...Promise.withResolvers<Answer>() };
    waiting.push(one);
    schedule();
    return one.promise;
  };
}
