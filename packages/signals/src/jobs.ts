/**
 * A job: named work that may follow later, in any process, and is tried again until it succeeds.
 * The contract (name, payload, attempts) stands apart from the code that does it, so that both sides parse.
 * Not a poke (nobody keeps those), and never in the path of an acknowledgement: acknowledge a commit.
 */
import type { Logger } from "@continuo/process";
import type { z } from "zod";

/** What producer and worker agree on. `Payload` is plain JSON and parses to itself. */
export interface JobDefinition<Payload> {
  /** kebab-case; also the name of its queue. */
  readonly name: string;
  /**
   * What it was called before. A row of an outbox under such a name becomes this job: a process that is not yet replaced may
   * still write some. What a queue of that name has is removed when somebody begins to work on this one: its outbox or
   * schedule says it again.
   */
  readonly formerly?: readonly string[];
  readonly schema: z.ZodType<Payload>;
  /** How often it is tried before it stays failed, for somebody to look at. */
  readonly attempts: number;
  /** The wait before the second attempt, in milliseconds; it doubles for each further one, with jitter. */
  readonly backoffMs: number;
  /** Where it is cheaper to do many at once: payloads that wait in an outbox together become this one, and one job. */
  merge?(payloads: readonly Payload[]): Payload;
}

export interface JobContext {
  /**
   * Stays the same over all attempts, also after the death of a worker. A handler may run more than once for one id
   * (its process can die after the effect and before the acknowledgement): make the effect idempotent by it.
   */
  readonly jobId: string;
  /** 1 the first time. */
  readonly attempt: number;
  /** Aborts when this worker is closing or has lost the job to another: stop at the next safe point by throwing. */
  readonly signal: AbortSignal;
  readonly logger: Logger;
}

export type JobHandler<Payload> = (payload: Payload, context: JobContext) => Promise<void>;

export interface EnqueueOptions {
  /** Twice the same id is one job, for as long as the first is remembered (an hour after it completed). No colon, not a number. */
  readonly jobId?: string;
  readonly delayMs?: number;
}

export interface Jobs extends AsyncDisposable {
  /**
   * Resolves when the queue has stored the job (over Postgres it survives a crash of the server from the next commit on
   * that waits for the disk, such as that of an outbox's mark). Throws ZodError for a payload that does not parse, and
   * UNAVAILABLE/JOBS_UNREACHABLE within 5 s when the queue cannot be reached (the job may be there all the same:
   * trying again with the same `jobId` is safe).
   */
  enqueue<Payload>(definition: JobDefinition<Payload>, payload: Payload, options?: EnqueueOptions): Promise<void>;
  /** Starts to work on jobs of `definition`, `concurrency` (default 5) at a time; closing waits for those under way. */
  work<Payload>(
    definition: JobDefinition<Payload>,
    handler: JobHandler<Payload>,
    options?: { concurrency?: number },
  ): Promise<AsyncDisposable>;
  /**
   * One job every `everyMs`, however many processes say so (the last interval said counts), the first at once.
   * The process keeps asserting it, so that a queue that lost its data has it again within half a minute.
   * `payload` is `{}` unless given.
   */
  every<Payload>(definition: JobDefinition<Payload>, options: { everyMs: number; payload?: Payload }): Promise<void>;
}

/** Declares a job. Throws RangeError for a name that is not kebab-case. */
export function defineJob<Payload>(definition: JobDefinition<Payload>): JobDefinition<Payload> {
  if (!/^[a-z][a-z0-9]*(-[a-z0-9]+)*$/.test(definition.name))
    throw new RangeError(`a job's name is kebab-case: ${definition.name}`);
  return Object.freeze(definition);
}
