/**
 * Group commit for statements: calls that arrive while one is under way wait, and then go together in the next.
 * Under load, the number of statements costs a database and its clients more than their length does, and statements
 * that queue for one row (the head of a log) would each commit alone.
 * A process that is short of CPU collects more calls before it sends the next statement, and so sends fewer.
 */
import { setImmediate as turn } from "node:timers/promises";

export interface GatherOptions {
  /** Maximum number of calls in one statement. */
  readonly atMost?: number;
  /** How long calls wait for the statement before theirs, so that one that hangs delays nobody for longer. Milliseconds. */
  readonly patienceMs?: number;
  /**
   * Sends half of the waiting calls at a time, and at least eight: while Postgres works on those, this process answers
   * the previous ones and takes in the next. If all went at once, one side would always be idle while the other works.
   * Use it for statements that take Postgres about as long as a request takes this process, with one call per request;
   * otherwise fewer statements are better.
   */
  readonly inHalves?: boolean;
}

/** A smaller batch would cost more than the idle time it saves. */
const LEAST_OF_HALF = 8;

interface Waiting<Call, Answer> extends PromiseWithResolvers<Answer> {
  readonly call: Call;
}

/**
 * `run` returns one answer per call, in order; an Error as the answer rejects that call. If `run` throws, every call of
 * the batch fails, so it must throw only for an outage.
 * A call that arrives while no statement is under way goes out at once, with the others of the same turn of the event loop.
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

  /** Only called while calls are waiting. */
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
        // Otherwise the work that these answers trigger would delay the next statement, and Postgres would wait for it.
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
