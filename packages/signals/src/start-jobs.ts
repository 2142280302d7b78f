/**
 * Queues, workers and schedules on BullMQ, over Postgres or Redis alike. Not exported from the index: BullMQ is a fifth
 * of what a process loads, so only processes with jobs import it.
 */
import { randomUUID } from "node:crypto";
import { AppError } from "@continuo/errors";
import { createGauge, type Logger } from "@continuo/process";
import { type IQueueBackend, type JobsOptions, Queue } from "bullmq";
import type { JobsBackend } from "./jobs.backend.ts";
import type { JobDefinition, Jobs } from "./jobs.ts";
import { throttle } from "./throttle.ts";
import { startWorker } from "./worker.ts";

/** How long a completed job's id is remembered, so that enqueueing it again does nothing. */
const REMEMBER_COMPLETED = { age: 3_600, count: 10_000 };
const KEEP_FAILED = { age: 30 * 24 * 3_600 };
const ENQUEUE_TIMEOUT_MS = 5_000;

export interface JobsStartOptions {
  readonly databaseUrl: string;
  readonly redisUrl?: string | undefined;
  readonly logger: Logger;
  /** Separates installations that share one Redis; over Postgres, the database separates them. */
  readonly prefix?: string;
  /** How long a worker may be silent before its jobs are taken from it. Milliseconds. */
  readonly lockMs?: number;
  /** A job whose workers died more often than this is itself suspect, and stays failed. */
  readonly maxDeaths?: number;
  /** How often a process checks that its schedules still exist. Milliseconds. */
  readonly assertSchedulesEveryMs?: number;
}

const jobCounts = createGauge(
  "continuo_jobs",
  "Jobs in the queues that this process uses, of all processes together, by queue and state.",
  ["queue", "state"],
);
const STATES = ["waiting", "active", "delayed", "failed"] as const;

type AnyQueue = Queue<unknown, void, string, unknown, void, string, IQueueBackend>;

/**
 * Jobs over Redis when `redisUrl` is set, else over Postgres. Over Postgres, rejects when the database is unreachable
 * or not migrated; over Redis, connects by itself once it is up. Disposal waits for the handlers under way.
 */
export async function startJobs(options: JobsStartOptions): Promise<Jobs> {
  const { databaseUrl, redisUrl, prefix = "continuo" } = options;
  const { lockMs = 10_000, maxDeaths = 5, assertSchedulesEveryMs = 15_000 } = options;
  const logger = options.logger.child({ component: "jobs" });
  await using stack = new AsyncDisposableStack();
  const backend = stack.use(await openBackend(databaseUrl, redisUrl, logger));
  const hashTag = `{${prefix}}`;

  const queues = new Map<string, AnyQueue>();
  stack.defer(async () => void (await Promise.allSettled([...queues.values()].map((queue) => queue.close()))));
  stack.use(
    jobCounts.watch(async () => {
      const counted = await Promise.all(
        [...queues].map(async ([name, queue]) => {
          const counts = await queue.getJobCounts(...STATES);
          return STATES.map((state) => [{ queue: name, state }, counts[state] ?? 0] as const);
        }),
      );
      return counted.flat();
    }),
  );
  const schedules = new Set<NodeJS.Timeout>();
  const workers = new Set<AsyncDisposable>();
  let closed = false;
  stack.defer(async () => {
    closed = true;
    for (const timer of schedules) clearInterval(timer);
    await Promise.all([...workers].map((worker) => worker[Symbol.asyncDispose]()));
  });
  const opened = stack.move();

  function queueOf(name: string): AnyQueue {
    if (closed) throw new AppError("UNAVAILABLE", "JOBS_CLOSED", "This process is shutting down.");
    const known = queues.get(name);
    if (known) return known;
    const queue = openQueue(name);
    queues.set(name, queue);
    return queue;
  }

  function openQueue(name: string): AnyQueue {
    const { factory, connection } = backend.queue;
    const queue: AnyQueue = new Queue(name, { connection, prefix: hashTag }, factory);
    queue.on(
      "error",
      throttle((cause) => logger.warn({ err: cause, queue: name }, "a job queue has trouble")),
    );
    return queue;
  }

  async function removeQueue(name: string): Promise<void> {
    const queue = openQueue(name);
    try {
      await reach(queue.obliterate({ force: true }));
    } catch (cause) {
      logger.warn({ err: cause, queue: name }, "what a job left under its former name stays until the next start");
    } finally {
      await queue.close();
    }
  }

  function optionsOf<Payload>({ attempts, backoffMs }: JobDefinition<Payload>): JobsOptions {
    return {
      attempts,
      backoff: { type: "exponential", delay: backoffMs, jitter: 0.5 },
      removeOnComplete: REMEMBER_COMPLETED,
      removeOnFail: KEEP_FAILED,
    };
  }

  async function assertSchedule<Payload>(
    definition: JobDefinition<Payload>,
    everyMs: number,
    payload: Payload,
  ): Promise<void> {
    const { name } = definition;
    const queue = queueOf(name);
    const stands = async (): Promise<boolean> => {
      const current = await queue.getJobScheduler(name);
      const late = Date.now() - (current?.next ?? 0);
      return current?.every === everyMs && late < assertSchedulesEveryMs;
    };
    if (await stands()) return;
    await backend.alone(name, async () => {
      if (await stands()) return;
      // Removed first: an upsert would keep the old interval's offset, and run the new one at the wrong times.
      await queue.removeJobScheduler(name);
      await queue.upsertJobScheduler(name, { every: everyMs }, { name, data: payload, opts: optionsOf(definition) });
    });
  }

  return {
    enqueue: async (definition, payload, { jobId = randomUUID(), delayMs } = {}) => {
      const parsed = definition.schema.parse(payload);
      if (jobId.includes(":") || /^\d*$/.test(jobId)) throw new RangeError("a job id has no colon and is not a number");
      const queue = queueOf(definition.name);
      await reach(
        queue.add(definition.name, parsed, {
          ...optionsOf(definition),
          jobId,
          ...(delayMs === undefined ? {} : { delay: delayMs }),
        }),
      );
    },

    work: async (definition, handler, { concurrency = 5 } = {}) => {
      queueOf(definition.name);
      await Promise.all((definition.formerly ?? []).map(removeQueue));
      const worker = startWorker({
        definition,
        handler,
        concurrency,
        backend: backend.worker,
        prefix: hashTag,
        lockMs,
        maxDeaths,
        logger,
      });
      workers.add(worker);
      return {
        async [Symbol.asyncDispose]() {
          workers.delete(worker);
          await worker[Symbol.asyncDispose]();
        },
      };
    },

    every: async (definition, { everyMs, payload }) => {
      const parsed = definition.schema.parse(payload ?? {});
      await reach(assertSchedule(definition, everyMs, parsed), backend.unreachable);
      const timer = setInterval(() => {
        assertSchedule(definition, everyMs, parsed).catch((cause: unknown) => {
          logger.warn({ err: cause, queue: definition.name }, "a schedule was not asserted");
        });
      }, assertSchedulesEveryMs);
      schedules.add(timer.unref());
    },

    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

/** Imports only the driver that is used. */
async function openBackend(databaseUrl: string, redisUrl: string | undefined, logger: Logger): Promise<JobsBackend> {
  if (redisUrl === undefined) {
    const { openPostgresBackend } = await import("./jobs.postgres.ts");
    return openPostgresBackend({ databaseUrl, logger });
  }
  const { openRedisBackend } = await import("./jobs.redis.ts");
  return openRedisBackend({ redisUrl, logger });
}

function jobsUnreachable(cause: unknown): Error {
  return new AppError("UNAVAILABLE", "JOBS_UNREACHABLE", "The job queue cannot be reached.", { cause });
}

async function reach(work: Promise<unknown>, fault = jobsUnreachable): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${ENQUEUE_TIMEOUT_MS} ms`)), ENQUEUE_TIMEOUT_MS);
  });
  try {
    await Promise.race([work, late]);
  } catch (cause) {
    throw fault(cause);
  } finally {
    clearTimeout(timer);
  }
}
