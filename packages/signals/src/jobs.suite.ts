/** What jobs guarantee on either backend. */
import { randomUUID } from "node:crypto";
import { createLogger, type Logger, metrics } from "@continuo/process";
import { UnrecoverableError } from "bullmq";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { z } from "zod";
import type { Bus, OpenBus } from "./fixtures/bus.ts";
import { startChild } from "./fixtures/child.ts";
import { LOCK_MS, silent, tell, tellInVain } from "./fixtures/settings.ts";
import { defineJob, type JobContext, type JobDefinition, type Jobs } from "./jobs.ts";
import { startJobs } from "./start-jobs.ts";

const soon = { timeout: 60_000, interval: 10 };

/** A job with a queue of its own, so that no test takes another's work. */
function someJob(options: { attempts?: number } = {}): JobDefinition<{ subject: string }> {
  return defineJob({ ...tell, ...options, name: `tell-${randomUUID()}` });
}

/** A logger, and what it logs about jobs. */
function listen(): { logger: Logger; told: string[] } {
  const logger = createLogger({ name: "jobs-test", level: "silent" });
  const told: string[] = [];
  const tellOf = (about: unknown, message?: string): void => void told.push(`${Object(about).jobId}: ${message}`);
  vi.spyOn(logger, "child").mockReturnThis();
  vi.spyOn(logger, "warn").mockImplementation(tellOf);
  vi.spyOn(logger, "error").mockImplementation(tellOf);
  return { logger, told };
}

export function describeJobs(name: string, openBus: OpenBus): void {
  describe(`jobs over ${name}`, () => {
    let bus: Bus;
    beforeAll(async () => {
      bus = await openBus();
    });
    afterAll(() => bus[Symbol.asyncDispose]());
    const start = (options: { lockMs?: number } = {}): Promise<Jobs> =>
      startJobs({ ...bus, logger: silent, ...options });

    test("a job enqueued in one place runs once in another, with its payload and id", async () => {
      await using producer = await start();
      await using consumer = await start();
      const job = someJob();
      const runs: Array<{ subject: string; jobId: string; attempt: number }> = [];
      await consumer.work(job, async ({ subject }, { jobId, attempt }) => void runs.push({ subject, jobId, attempt }));
      const jobId = randomUUID();
      await producer.enqueue(job, { subject: "a letter" }, { jobId });
      await vi.waitFor(() => expect(runs).toEqual([{ subject: "a letter", jobId, attempt: 1 }]), soon);
    });

    test("how many jobs wait is told to whoever watches the process", async () => {
      await using jobs = await start();
      const job = someJob();
      await jobs.enqueue(job, { subject: "now" });
      await jobs.enqueue(job, { subject: "later" }, { delayMs: 60_000 });
      const lines = (await metrics.text()).split("\n");
      expect(lines).toContain(`continuo_jobs{queue="${job.name}",state="waiting"} 1`);
      expect(lines).toContain(`continuo_jobs{queue="${job.name}",state="delayed"} 1`);
    });

    test("the same id enqueued twice is one job, also after it has completed", async () => {
      await using jobs = await start();
      const job = someJob();
      const ran: string[] = [];
      await jobs.work(job, async ({ subject }) => void ran.push(subject), { concurrency: 1 });
      const jobId = randomUUID();
      await Promise.all([
        jobs.enqueue(job, { subject: "once" }, { jobId }),
        jobs.enqueue(job, { subject: "once" }, { jobId }),
      ]);
      await vi.waitFor(() => expect(ran).toEqual(["once"]), soon);
      await jobs.enqueue(job, { subject: "once" }, { jobId });
      await jobs.enqueue(job, { subject: "last" });
      await vi.waitFor(() => expect(ran).toEqual(["once", "last"]), soon);
    });

    test("a handler that throws is tried again, under the same id, until it succeeds", async () => {
      await using jobs = await start();
      const job = someJob();
      const attempts: Array<[string, number]> = [];
      await jobs.work(job, async (_, { jobId, attempt }) => {
        attempts.push([jobId, attempt]);
        if (attempt < 3) throw new Error("not yet");
      });
      const jobId = randomUUID();
      await jobs.enqueue(job, { subject: "stubborn" }, { jobId });
      await vi.waitFor(
        () =>
          expect(attempts).toEqual([
            [jobId, 1],
            [jobId, 2],
            [jobId, 3],
          ]),
        soon,
      );
    });

    test("a job that fails each of its attempts stays failed, and is not run for a second enqueueing of its id", async () => {
      await using jobs = await start();
      const job = someJob({ attempts: 2 });
      const ran: string[] = [];
      await jobs.work(
        job,
        async ({ subject }) => {
          ran.push(subject);
          if (subject === "hopeless") throw new Error("no");
        },
        { concurrency: 1 },
      );
      const jobId = randomUUID();
      await jobs.enqueue(job, { subject: "hopeless" }, { jobId });
      await vi.waitFor(() => expect(ran).toEqual(["hopeless", "hopeless"]), soon);
      await jobs.enqueue(job, { subject: "hopeless" }, { jobId });
      await jobs.enqueue(job, { subject: "next" });
      await vi.waitFor(() => expect(ran).toEqual(["hopeless", "hopeless", "next"]), soon);
    });

    test("whether a job is tried again is told by what became of it: one that its workers died of has attempts left", async () => {
      const { logger, told } = listen();
      await using jobs = await startJobs({ ...bus, logger });
      const job = someJob({ attempts: 2 });
      await jobs.work(job, async ({ subject }) => {
        throw subject === "deadly" ? new UnrecoverableError("no") : new Error("not yet");
      });
      for (const subject of ["deadly", "hard"]) await jobs.enqueue(job, { subject }, { jobId: subject });
      await vi.waitFor(
        () =>
          expect(told.toSorted()).toEqual([
            "deadly: a job failed for good",
            "hard: a job failed and will be tried again",
            "hard: a job failed for good",
          ]),
        soon,
      );
    });

    test("a payload that does not parse is refused, and one that no longer parses fails in the worker", async () => {
      await using jobs = await start();
      const job = someJob();
      await expect(jobs.enqueue<unknown>(job, { subject: 1 })).rejects.toThrow(z.ZodError);
      const stricter = defineJob({ ...job, attempts: 1, schema: z.object({ subject: z.string().min(4) }) });
      const ran: string[] = [];
      await jobs.work(stricter, async ({ subject }) => void ran.push(subject), { concurrency: 1 });
      await jobs.enqueue(job, { subject: "odd" });
      await jobs.enqueue(job, { subject: "even" });
      await vi.waitFor(() => expect(ran).toEqual(["even"]), soon);
    });

    test.each(["a:b", "12", ""])("the job id %j is refused", async (jobId) => {
      await using jobs = await start();
      await expect(jobs.enqueue(tell, { subject: "x" }, { jobId })).rejects.toThrow(RangeError);
    });

    test("a delayed job runs after the delay, behind one that was not delayed", async () => {
      await using jobs = await start();
      const job = someJob();
      const ran: string[] = [];
      await jobs.work(job, async ({ subject }) => void ran.push(subject));
      await jobs.enqueue(job, { subject: "later" }, { delayMs: 700 });
      await jobs.enqueue(job, { subject: "now" });
      await vi.waitFor(() => expect(ran).toEqual(["now", "later"]), soon);
    });

    test("several jobs run side by side, up to the concurrency", async () => {
      await using jobs = await start();
      const job = someJob();
      const bothThere = Promise.withResolvers<void>();
      let there = 0;
      let most = 0;
      await jobs.work(
        job,
        async () => {
          there += 1;
          most = Math.max(most, there);
          if (there === 2) bothThere.resolve();
          await bothThere.promise;
          there -= 1;
        },
        { concurrency: 2 },
      );
      await Promise.all([1, 2, 3, 4].map((number) => jobs.enqueue(job, { subject: String(number) })));
      await bothThere.promise;
      expect(most).toBe(2);
    });

    test("closing waits for the handler under way", async () => {
      await using producer = await start();
      const jobs = await start();
      const job = someJob();
      const started = Promise.withResolvers<void>();
      const finish = Promise.withResolvers<void>();
      let finished = false;
      await jobs.work(job, async () => {
        started.resolve();
        await finish.promise;
        finished = true;
      });
      await producer.enqueue(job, { subject: "long" });
      await started.promise;
      const closing = jobs[Symbol.asyncDispose]();
      finish.resolve();
      await closing;
      expect(finished).toBe(true);
    });

    test("a worker that closes leaves the others of its process at work", async () => {
      await using jobs = await start();
      const [job, other] = [someJob(), someJob()];
      const ran: string[] = [];
      await jobs.work(job, async ({ subject }) => void ran.push(subject));
      const worker = await jobs.work(other, async ({ subject }) => void ran.push(subject));
      await worker[Symbol.asyncDispose]();
      await jobs.enqueue(other, { subject: "nobody's" });
      await jobs.enqueue(job, { subject: "after" });
      await vi.waitFor(() => expect(ran).toEqual(["after"]), soon);
    });

    test("a handler that heeds the signal when its worker closes gives the job back, and another worker does it", async () => {
      await using producer = await start();
      const job = someJob({ attempts: 1 });
      const started = Promise.withResolvers<void>();
      const closing = await start();
      await closing.work(job, async (_, { signal }) => {
        started.resolve();
        await new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
      });
      await producer.enqueue(job, { subject: "given back" });
      await started.promise;
      await closing[Symbol.asyncDispose]();
      const ran: string[] = [];
      await producer.work(job, async ({ subject }) => void ran.push(subject));
      await vi.waitFor(() => expect(ran).toEqual(["given back"]), soon);
    });

    test("a schedule said by many processes makes one job an interval", async () => {
      const processes = await Promise.all([start(), start(), start(), start()]);
      const job = defineJob({ name: someJob().name, schema: z.object({}), attempts: 1, backoffMs: 10 });
      const runs: JobContext[] = [];
      try {
        await Promise.all(processes.map((jobs) => jobs.work(job, async (_, context) => void runs.push(context))));
        await Promise.all(processes.map((jobs) => jobs.every(job, { everyMs: 400 })));
        const since = Date.now();
        await vi.waitFor(() => expect(runs.length).toBeGreaterThanOrEqual(5), soon);
        const intervals = Math.ceil((Date.now() - since) / 400) + 1;
        expect(runs.length).toBeLessThanOrEqual(intervals + 1);
        expect(new Set(runs.map(({ jobId }) => jobId)).size).toBe(runs.length);
      } finally {
        await Promise.all(processes.map((jobs) => jobs[Symbol.asyncDispose]()));
      }
    });

    test("the job of a worker that was killed in the middle is taken over and runs again under its id", async () => {
      await using jobs = await start({ lockMs: LOCK_MS });
      await using child = startChild("stuck-worker", { databaseUrl: bus.databaseUrl, redisUrl: bus.redisUrl });
      await child.line("working");
      const jobId = randomUUID();
      await jobs.enqueue(tellInVain, { subject: "orphan" }, { jobId });
      await child.line(`started ${jobId} orphan 1`);
      await child.kill();
      const runs: JobContext[] = [];
      await jobs.work(tellInVain, async (_, context) => void runs.push(context));
      await vi.waitFor(() => expect(runs).toMatchObject([{ jobId }]), soon);
      // Higher than 2 if the worker had already been silent before.
      expect(runs[0]?.attempt).toBeGreaterThan(1);
    });

    test("a worker that fell silent hears that its job was taken from it", async () => {
      await using jobs = await start({ lockMs: LOCK_MS });
      await using child = startChild("stuck-worker", { databaseUrl: bus.databaseUrl, redisUrl: bus.redisUrl });
      await child.line("working");
      const jobId = randomUUID();
      await jobs.enqueue(tellInVain, { subject: "stolen" }, { jobId });
      await child.line(`started ${jobId}`);
      child.stop();
      const ran: string[] = [];
      await jobs.work(tellInVain, async ({ subject }) => void ran.push(subject));
      await vi.waitFor(() => expect(ran).toEqual(["stolen"]), soon);
      child.goOn();
      await child.line(`lost ${jobId}`);
    });

    test("a job that its workers die of, more often than they may, stays failed and is not begun again", async () => {
      const { logger, told } = listen();
      await using jobs = await startJobs({ ...bus, logger, lockMs: LOCK_MS, maxDeaths: 1 });
      const jobId = randomUUID();
      await jobs.enqueue(tellInVain, { subject: "deadly" }, { jobId });
      for (const _death of [1, 2]) {
        await using child = startChild("stuck-worker", { databaseUrl: bus.databaseUrl, redisUrl: bus.redisUrl });
        await child.line(`started ${jobId}`);
      }
      const ran: string[] = [];
      await jobs.work(tellInVain, async ({ subject }) => void ran.push(subject));
      await vi.waitFor(() => expect(told).toContain(`${jobId}: a job failed for good`), soon);
      expect(ran).toEqual([]);
    });

    test("a worker whose connections break goes on with what comes after", async () => {
      await using jobs = await start();
      const job = someJob();
      const ran: string[] = [];
      await jobs.work(job, async ({ subject }) => void ran.push(subject));
      await jobs.enqueue(job, { subject: "before" });
      await vi.waitFor(() => expect(ran).toEqual(["before"]), soon);
      bus.proxy.cut();
      await vi.waitFor(() => jobs.enqueue(job, { subject: "after" }, { jobId: `after-${job.name}` }), soon);
      await vi.waitFor(() => expect(ran).toEqual(["before", "after"]), soon);
    });

    test("while the queue cannot be reached enqueueing says so, and works again when it can", async () => {
      await using jobs = await start();
      const job = someJob();
      await jobs.enqueue(job, { subject: "before" });
      bus.proxy.down();
      await expect(jobs.enqueue(job, { subject: "meanwhile" })).rejects.toMatchObject({
        code: "UNAVAILABLE",
        reason: "JOBS_UNREACHABLE",
      });
      bus.proxy.heal();
      await vi.waitFor(() => jobs.enqueue(job, { subject: "after" }), soon);
    });

    test("a schedule that cannot be had, as the queue cannot be reached, says which server and what to do", async () => {
      await using jobs = await start();
      const job = someJob();
      await jobs.enqueue(job, { subject: "before" });
      bus.proxy.down();
      await expect(jobs.every(job, { everyMs: 60_000, payload: { subject: "later" } })).rejects.toMatchObject({
        code: name === "Redis" ? "E_REDIS_UNREACHABLE" : "E_DB_UNREACHABLE",
      });
      bus.proxy.heal();
    });

    test("closing ends while the queue cannot be reached", async () => {
      const jobs = await start();
      const job = someJob();
      const ran: string[] = [];
      await jobs.work(job, async ({ subject }) => void ran.push(subject));
      await jobs.enqueue(job, { subject: "before" });
      await vi.waitFor(() => expect(ran).toEqual(["before"]), soon);
      bus.proxy.down();
      await jobs[Symbol.asyncDispose]();
      bus.proxy.heal();
    });

    test("an interval said anew replaces the old one", async () => {
      await using jobs = await start();
      const job = defineJob({ name: someJob().name, schema: z.object({}), attempts: 1, backoffMs: 10 });
      let runs = 0;
      await jobs.work(job, async () => void (runs += 1));
      await jobs.every(job, { everyMs: 3_600_000 });
      await vi.waitFor(() => expect(runs).toBe(1), soon);
      await jobs.every(job, { everyMs: 200 });
      await vi.waitFor(() => expect(runs).toBeGreaterThan(3), soon);
    });

    test("what lies under a job's former name is gone once somebody works on it under its new one, schedule and all", async () => {
      await using before = await start();
      const former = someJob();
      await before.every(former, { everyMs: 100, payload: { subject: "on schedule" } });
      await before.enqueue(former, { subject: "waits" });
      await before.enqueue(former, { subject: "later" }, { delayMs: 60_000 });
      await using after = await start();
      const ran: string[] = [];
      const note = async ({ subject }: { subject: string }): Promise<void> => void ran.push(subject);
      await after.work({ ...someJob(), formerly: [former.name] }, note);
      await after.work(former, note);
      await after.enqueue(former, { subject: "last" });
      await vi.waitFor(() => expect(ran).toEqual(["last"]), soon);
      const lines = (await metrics.text()).split("\n");
      for (const state of ["waiting", "delayed"])
        expect(lines).toContain(`continuo_jobs{queue="${former.name}",state="${state}"} 0`);
    });

    test("after disposal enqueueing says that the process is closing", async () => {
      const jobs = await start();
      await jobs[Symbol.asyncDispose]();
      await expect(jobs.enqueue(tell, { subject: "x" })).rejects.toMatchObject({
        code: "UNAVAILABLE",
        reason: "JOBS_CLOSED",
      });
    });
  });
}
