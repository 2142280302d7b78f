/** One BullMQ worker: parses the payload, runs the handler, and returns to the queue what it cannot finish. */
import { setTimeout as pause } from "node:timers/promises";
import type { Logger } from "@continuo/process";
import { type IQueueBackend, type Job, Worker, WaitingError } from "bullmq";
import type { WorkerSide } from "./jobs.backend.ts";
import type { JobDefinition, JobHandler } from "./jobs.ts";
import { throttle } from "./throttle.ts";

const RECONNECT_MS = 1_000;
const CLOSE_GRACE_MS = 3_000;

export interface WorkerStartOptions<Payload> {
  readonly definition: JobDefinition<Payload>;
  readonly handler: JobHandler<Payload>;
  readonly concurrency: number;
  readonly backend: WorkerSide;
  readonly prefix: string;
  readonly lockMs: number;
  readonly maxDeaths: number;
  readonly logger: Logger;
}

/** Takes jobs at once; disposal takes no more, asks those under way to stop, and waits for them. */
export function startWorker<Payload>(options: WorkerStartOptions<Payload>): AsyncDisposable {
  const { definition, handler, concurrency, backend, prefix, lockMs, maxDeaths } = options;
  const logger = options.logger.child({ queue: definition.name });
  const underWay = new Map<string, AbortController>();
  const running = new Set<Promise<void>>();
  let closing = false;

  async function process(job: Job, token?: string): Promise<void> {
    // BullMQ may claim one more while it closes.
    if (closing) return giveBack(job, token);
    const jobId = job.id ?? "";
    const abort = new AbortController();
    underWay.set(jobId, abort);
    try {
      const payload = definition.schema.parse(job.data);
      const run = handler(payload, {
        jobId,
        attempt: job.attemptsStarted,
        signal: abort.signal,
        logger: logger.child({ jobId }),
      });
      running.add(run);
      await run.finally(() => running.delete(run));
    } catch (cause) {
      if (!closing) throw cause;
      await giveBack(job, token);
    } finally {
      underWay.delete(jobId);
    }
  }

  /** Returns a job that we stopped to the queue, without using up an attempt. */
  async function giveBack(job: Job, token: string | undefined): Promise<never> {
    await job.moveToWait(token);
    throw new WaitingError();
  }

  const worker = new Worker<unknown, void, string, IQueueBackend>(
    definition.name,
    process,
    {
      connection: backend.connection,
      prefix,
      concurrency,
      drainDelay: backend.drainDelay,
      lockDuration: lockMs,
      stalledInterval: Math.ceil(lockMs / 2),
      maxStalledCount: maxDeaths,
      runRetryDelay: RECONNECT_MS,
    },
    backend.factory,
  );

  worker.on(
    "error",
    throttle((cause) => logger.warn({ err: cause }, "a worker has trouble with its queue")),
  );
  worker.on("failed", (job, cause) => {
    // The number of attempts does not tell: a job whose workers died has some left.
    const done = job === undefined || job.finishedOn !== undefined;
    const about = { err: cause, jobId: job?.id, attempts: job?.attemptsMade };
    if (done) logger.error(about, "a job failed for good");
    else logger.warn(about, "a job failed and will be tried again");
  });
  worker.on("stalled", (jobId) => logger.warn({ jobId }, "a job was taken from a worker that fell silent"));
  worker.on("lockRenewalFailed", (jobIds) => {
    for (const jobId of jobIds) underWay.get(jobId)?.abort(new Error("this worker has lost the job"));
  });

  return {
    async [Symbol.asyncDispose]() {
      closing = true;
      for (const abort of underWay.values()) abort.abort(new Error("this worker is closing"));
      const closed = worker.close();
      while (running.size > 0) await Promise.allSettled(running);
      // BullMQ waits for a queue that is away. We need not: other workers will take our jobs over.
      if (!(await endsWithin(closed, CLOSE_GRACE_MS))) {
        logger.warn("the queue does not answer: closing without it");
        worker.disconnect().catch(() => undefined);
      }
    },
  };
}

async function endsWithin(work: Promise<void>, ms: number): Promise<boolean> {
  const late = new AbortController();
  const timer = pause(ms, false, { signal: late.signal }).catch(() => false);
  try {
    return await Promise.race([work.then(() => true), timer]);
  } finally {
    late.abort();
  }
}
