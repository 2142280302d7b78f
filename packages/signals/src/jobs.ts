/**
 * A job: named work that can be done later, in any process, and is retried until it succeeds.
 * The contract (name, payload, attempts) is separate from the code that does the work, so that both sides parse.
 * Not a poke, which nobody stores; and never part of an acknowledgement: acknowledge a commit.
 */
import type { Logger } from "@continuo/process";
import type { z } from "zod";

/** What producer and worker agree on. `Payload` is plain JSON and parses to itself. */
export interface JobDefinition<Payload> {
  /** kebab-case; also the name of its queue. */
  readonly name: string;
  /**
   * Former names of the job. An outbox row under a former name becomes this job, since a process not yet replaced may
   * still write some. A former queue is removed when a worker of this job starts: its outbox or schedule will enqueue again.
   */
  readonly formerly?: readonly string[];
  readonly schema: z.ZodType<Payload>;
  /** How often it is tried before it stays failed, for an operator to look at. */
  readonly attempts: number;
  /** The wait before the second attempt, in milliseconds; it doubles for each further one, with jitter. */
  readonly backoffMs: number;
  /** Where many are cheaper done at once: payloads that wait in an outbox together are merged into one, for one job. */
  merge?(payloads: readonly Payload[]): Payload;
}

export interface JobContext {
  /**
   * The same for all attempts, even after a worker's death. A handler may run more than once for one id (its process
   * can die after the effect and before the acknowledgement): use the id to make the effect idempotent.
   */
  readonly jobId: string;
  /** 1 for the first attempt. */
  readonly attempt: number;
  /** Aborted when this worker is closing or has lost the job to another: stop at the next safe point by throwing. */
  readonly signal: AbortSignal;
  readonly logger: Logger;
}

export type JobHandler<Payload> = (payload: Payload, context: JobContext) => Promise<void>;

export interface EnqueueOptions {
  /**
   * Enqueueing the same id twice is one job, while the first is remembered (until an hour after it completed). No
   * colon, not a number.
   */
  readonly jobId?: string;
  readonly delayMs?: number;
}

export interface Jobs extends AsyncDisposable {
  /**
   * Resolves when the queue has stored the job. Over Postgres it survives a server crash only once a later commit has
   * been flushed to disk, such as the one that marks the outbox row. Throws ZodError for a payload that does not parse,
   * and UNAVAILABLE/JOBS_UNREACHABLE within 5 s when the queue cannot be reached (the job may have been stored all the
   * same: retrying with the same `jobId` is safe).
   */
  enqueue<Payload>(definition: JobDefinition<Payload>, payload: Payload, options?: EnqueueOptions): Promise<void>;
  /** Starts a worker for jobs of `definition`, `concurrency` (default 5) at a time; closing waits for those under way. */
  work<Payload>(
    definition: JobDefinition<Payload>,
    handler: JobHandler<Payload>,
    options?: { concurrency?: number },
  ): Promise<AsyncDisposable>;
  /**
   * Schedules one job every `everyMs`, the first at once, however many processes call this (the last interval given
   * counts). The process keeps asserting the schedule, so a queue that lost its data has it again within half a minute.
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
