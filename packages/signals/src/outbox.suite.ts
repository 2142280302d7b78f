/** What the outbox guarantees on either backend. */
import { randomUUID } from "node:crypto";
import { ONLY_LOOPS } from "@continuo/testkit";
import { Client, Pool } from "pg";
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { z } from "zod";
import type { Bus, OpenBus } from "./fixtures/bus.ts";
import { startChild } from "./fixtures/child.ts";
import { silent, tell } from "./fixtures/settings.ts";
import { defineJob, type Jobs } from "./jobs.ts";
import { type OutboxRelayOptions, type OutboxRow, outboxRow, outboxTopic, startOutboxRelay } from "./outbox.ts";
import type { Pokes } from "./pokes.ts";
import { startJobs } from "./start-jobs.ts";
import { startPokes } from "./start-pokes.ts";

const soon = { timeout: 60_000, interval: 10 };
const NEVER_MS = 3_600_000;

export function describeOutbox(name: string, openBus: OpenBus): void {
  describe(`the outbox over ${name}`, () => {
    let bus: Bus;
    let pool: Pool;
    let jobs: Jobs;
    let pokes: Pokes;
    const ran: string[] = [];

    beforeAll(async () => {
      bus = await openBus();
      pool = new Pool({ connectionString: bus.databaseUrl, application_name: "outbox-owner" });
      pool.on("error", () => undefined);
      jobs = await startJobs({ ...bus, logger: silent });
      pokes = await startPokes({ ...bus, logger: silent });
      await jobs.work(tell, async ({ subject }) => void ran.push(subject));
    });
    afterAll(async () => {
      await pokes[Symbol.asyncDispose]();
      await jobs[Symbol.asyncDispose]();
      await pool.end();
      await bus[Symbol.asyncDispose]();
    });
    beforeEach(async () => {
      ran.length = 0;
      await pool.query("DELETE FROM session.outbox");
    });

    const relay = (options: Partial<OutboxRelayOptions> = {}): Promise<AsyncDisposable> =>
      startOutboxRelay({
        pool,
        schema: "session",
        jobs,
        definitions: [tell],
        pokes,
        logger: silent,
        sweepMs: NEVER_MS,
        ...options,
      });

    /** Jobs that only record what is enqueued. */
    function keep(): { enqueued: { name: string; payload: unknown; jobId: string | undefined }[]; keeping: Jobs } {
      const enqueued: { name: string; payload: unknown; jobId: string | undefined }[] = [];
      const enqueue: Jobs["enqueue"] = async ({ name }, payload, options) =>
        void enqueued.push({ name, payload, jobId: options?.jobId });
      return { enqueued, keeping: { ...jobs, enqueue } };
    }

    async function write(...rows: OutboxRow[]): Promise<void> {
      await pool.query(
        `INSERT INTO session.outbox (id, topic, payload)
         SELECT id, topic, payload FROM jsonb_to_recordset($1::jsonb) AS t(id uuid, topic text, payload jsonb)`,
        [JSON.stringify(rows)],
      );
    }
    const pending = async (): Promise<number> =>
      (await pool.query("SELECT 1 FROM session.outbox WHERE enqueued_at IS NULL")).rows.length;

    test("an event is handed over at a poke", async () => {
      await using _ = await relay();
      await write(outboxRow(tell, { subject: "poked" }));
      await vi.waitFor(async () => {
        await pokes.publish(outboxTopic("session"), 0);
        expect(ran).toEqual(["poked"]);
      }, soon);
      await vi.waitFor(async () => expect(await pending()).toBe(0), soon);
    });

    test("an event that nobody poked for is found by the sweep", async () => {
      await using _ = await relay({ sweepMs: 50 });
      await write(outboxRow(tell, { subject: "swept" }));
      await vi.waitFor(() => expect(ran).toEqual(["swept"]), soon);
    });

    test("an event that a process of before wrote under the job's former name is that job", async () => {
      const former = defineJob({ ...tell, name: "say" });
      await using _ = await relay({ sweepMs: 50, definitions: [{ ...tell, formerly: [former.name] }] });
      await write(outboxRow(former, { subject: "said" }));
      await vi.waitFor(() => expect(ran).toEqual(["said"]), soon);
    });

    test("an event of a transaction that rolled back is never handed over", async () => {
      await using _ = await relay({ sweepMs: 50 });
      const client = await pool.connect();
      await client.query("BEGIN");
      await client.query("INSERT INTO session.outbox (id, topic, payload) VALUES ($1, $2, $3)", [
        randomUUID(),
        tell.name,
        { subject: "undone" },
      ]);
      await client.query("ROLLBACK");
      client.release();
      await write(outboxRow(tell, { subject: "done" }));
      await vi.waitFor(() => expect(ran).toEqual(["done"]), soon);
    });

    test("four relays at once hand each of 500 events over once", async () => {
      await write(...Array.from({ length: 500 }, (_, number) => outboxRow(tell, { subject: String(number) })));
      const relays = await Promise.all([relay(), relay(), relay(), relay()]);
      await vi.waitFor(() => expect(ran.length).toBeGreaterThanOrEqual(500), soon);
      await Promise.all(relays.map((each) => each[Symbol.asyncDispose]()));
      expect(await pending()).toBe(0);
      expect(ran.toSorted((a, b) => Number(a) - Number(b))).toEqual(
        Array.from({ length: 500 }, (_, number) => String(number)),
      );
    });

    test.each(["before-enqueue", "after-enqueue"])(
      "a relay killed %s loses nothing and doubles nothing",
      async (mode) => {
        await write(outboxRow(tell, { subject: mode }));
        const child = startChild("relay", { databaseUrl: bus.databaseUrl, redisUrl: bus.redisUrl, mode });
        await expect(child.line("never")).rejects.toThrow("ended");
        await vi.waitFor(() => expect(ran).toEqual(mode === "after-enqueue" ? [mode] : []), soon);
        expect(await pending()).toBe(1);
        await using _ = await relay({ sweepMs: 50 });
        await vi.waitFor(async () => expect(await pending()).toBe(0), soon);
        await write(outboxRow(tell, { subject: "next" }));
        await vi.waitFor(() => expect(ran).toEqual([mode, "next"]), soon);
      },
    );

    test("a relay whose own statement failed goes on, though it has but one connection", async () => {
      const own = new Pool({ connectionString: bus.databaseUrl, max: 1, options: "-c lock_timeout=100" });
      await using _own = { [Symbol.asyncDispose]: () => own.end() };
      const failed = Promise.withResolvers<void>();
      const logger: typeof silent = Object.create(silent, {
        child: { value: () => logger },
        warn: { value: () => failed.resolve() },
      });
      const locker = await pool.connect();
      await locker.query("BEGIN");
      await locker.query("LOCK TABLE session.outbox");
      await using _ = await relay({ pool: own, sweepMs: 50, logger });
      await failed.promise;
      await locker.query("ROLLBACK");
      locker.release();
      await write(outboxRow(tell, { subject: "later" }));
      await vi.waitFor(() => expect(ran).toEqual(["later"]), soon);
    });

    test("a connection that dies between two statements takes no process with it, and the event is handed over", async () => {
      const own = new Pool({ connectionString: bus.databaseUrl, max: 1, application_name: "outbox-dying" });
      await using _own = { [Symbol.asyncDispose]: () => own.end() };
      const kill =
        "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE application_name = 'outbox-dying'";
      let isFirst = true;
      const enqueue: Jobs["enqueue"] = async (...job) => {
        if (isFirst) await pool.query(kill);
        isFirst = false;
        await jobs.enqueue(...job);
      };
      await write(outboxRow(tell, { subject: "survivor" }));
      await using _ = await relay({ pool: own, jobs: { ...jobs, enqueue }, sweepMs: 50 });
      await vi.waitFor(async () => expect(await pending()).toBe(0), soon);
      await vi.waitFor(() => expect(ran).toEqual(["survivor"]), soon);
    });

    test("while the queue refuses, events wait; afterwards all are handed over", async () => {
      let refuse = true;
      let refusals = 0;
      const moody: Jobs = {
        ...jobs,
        enqueue: async (...job) => {
          if (refuse && (refusals += 1)) throw new Error("the queue is away");
          await jobs.enqueue(...job);
        },
      };
      const warn = vi.fn<() => void>();
      const logger: typeof silent = Object.create(silent, { child: { value: () => logger }, warn: { value: warn } });
      await using _ = await relay({ jobs: moody, sweepMs: 50, logger });
      await write(outboxRow(tell, { subject: "patient" }));
      await vi.waitFor(() => expect(refusals).toBeGreaterThan(1), soon);
      expect(warn).toHaveBeenCalled();
      expect(await pending()).toBe(1);
      refuse = false;
      await vi.waitFor(() => expect(ran).toEqual(["patient"]), soon);
    });

    test("rows that do not parse stay where they can be seen and hold nobody up, however many; a foreign topic waits", async () => {
      await write(
        ...Array.from({ length: 100 }, () => ({ id: randomUUID(), topic: tell.name, payload: { wrong: true } })),
        { id: randomUUID(), topic: "somebody-elses", payload: {} },
      );
      await write(outboxRow(tell, { subject: "sound" }));
      await using _ = await relay({ sweepMs: 50 });
      await vi.waitFor(() => expect(ran).toEqual(["sound"]), soon);
      await vi.waitFor(async () => expect(await pending()).toBe(101), soon);
    });

    test("rows that wait together are one job, where their definition merges them; the same rows are the same job", async () => {
      const { enqueued, keeping } = keep();
      const all = defineJob({
        ...tell,
        name: "tell-all",
        schema: z.object({ subjects: z.array(z.string()) }),
        merge: (payloads) => ({ subjects: payloads.flatMap(({ subjects }) => subjects) }),
      });
      const rows = ["a", "b", "c"].map((subject) => outboxRow(all, { subjects: [subject] }));
      await write(...rows, { id: randomUUID(), topic: all.name, payload: { wrong: true } });
      await write(outboxRow(tell, { subject: "one" }), outboxRow(tell, { subject: "other" }));
      await using _ = await relay({ jobs: keeping, definitions: [tell, all], sweepMs: 50 });
      await vi.waitFor(async () => expect(await pending()).toBe(1), soon);
      const merged = (): unknown[] => enqueued.filter(({ name }) => name === all.name);
      expect(enqueued.filter(({ name }) => name === tell.name)).toHaveLength(2);
      expect(merged()).toEqual([{ name: all.name, payload: { subjects: ["a", "b", "c"] }, jobId: expect.any(String) }]);

      // As after a crash between hand-over and mark; then with one more row, which must not count as handed over.
      const again = async (): Promise<void> =>
        void (await pool.query("UPDATE session.outbox SET enqueued_at = NULL WHERE topic = $1", [all.name]));
      await again();
      await vi.waitFor(() => expect(merged()).toHaveLength(2), soon);
      await vi.waitFor(async () => expect(await pending()).toBe(1), soon);
      await write(outboxRow(all, { subjects: ["d"] }));
      await vi.waitFor(() => expect(merged()).toHaveLength(3), soon);
      await again();
      await vi.waitFor(() => expect(merged()).toHaveLength(4), soon);
      const ids = enqueued.filter(({ name }) => name === all.name).map(({ jobId }) => jobId);
      expect(ids[1]).toBe(ids[0]);
      expect(new Set(ids).size).toBe(3);
    });

    test("a row that is due later waits for its time and holds nobody up", async () => {
      const later = outboxRow(tell, { subject: "later" });
      await write(later);
      await pool.query("UPDATE session.outbox SET due_at = now() + interval '1 hour'");
      await write(outboxRow(tell, { subject: "now" }));
      await using _ = await relay({ sweepMs: 50 });
      await vi.waitFor(() => expect(ran).toEqual(["now"]), soon);
      // A job may run before its row is marked.
      await vi.waitFor(async () => expect(await pending()).toBe(1), soon);
      await pool.query("UPDATE session.outbox SET due_at = now() WHERE id = $1", [later.id]);
      await vi.waitFor(() => expect(ran).toEqual(["now", "later"]), soon);
    });

    test("a row that another relay holds is left to it, and holds nobody up", async () => {
      await write(outboxRow(tell, { subject: "held" }));
      const holder = await pool.connect();
      await using _holder = { [Symbol.asyncDispose]: async () => holder.release(true) };
      await holder.query("BEGIN");
      await holder.query("SELECT FROM session.outbox FOR UPDATE");
      await write(outboxRow(tell, { subject: "free" }));
      await using _ = await relay({ sweepMs: 50 });
      await vi.waitFor(() => expect(ran).toEqual(["free"]), soon);
      await holder.query("ROLLBACK");
      await vi.waitFor(() => expect(ran).toEqual(["free", "held"]), soon);
    });

    test("rows are deleted once they are older than the retention, but never before their hand-over", async () => {
      await write(outboxRow(tell, { subject: "short-lived" }), {
        id: randomUUID(),
        topic: "somebody-elses",
        payload: {},
      });
      await using first = await relay({ sweepMs: 50 });
      await vi.waitFor(() => expect(ran).toEqual(["short-lived"]), soon);
      await first[Symbol.asyncDispose]();
      await using _ = await relay({ sweepMs: 50, retentionMs: 0 });
      await vi.waitFor(
        async () =>
          expect((await pool.query("SELECT topic FROM session.outbox")).rows).toEqual([{ topic: "somebody-elses" }]),
        soon,
      );
    });

    test("what is past is deleted batch by batch: events are handed over in between, and a row that somebody holds is passed over", async () => {
      await pool.query(
        `INSERT INTO session.outbox (id, topic, payload, enqueued_at)
         SELECT gen_random_uuid(), 'past', to_jsonb(number), now() - interval '2 days' FROM generate_series(1, 5000) AS number`,
      );
      const holder = await pool.connect();
      await using _holder = { [Symbol.asyncDispose]: async () => holder.release(true) };
      await holder.query("BEGIN");
      await holder.query("SELECT FROM session.outbox WHERE payload = '1' FOR UPDATE");
      const statements: string[] = [];
      const looping = new Pool({ connectionString: bus.databaseUrl, options: ONLY_LOOPS });
      await using _looping = { [Symbol.asyncDispose]: () => looping.end() };
      const own: Pool = Object.create(pool, {
        // The real pool, which keeps count of its connections.
        connect: { value: () => pool.connect() },
        query: {
          value: async (text: string, values: unknown[]) => {
            const answer = await looping.query(text, values);
            statements.push(`${answer.command} ${answer.rowCount}`);
            // The next round hands it over: there is one before everything is deleted.
            if (statements.length === 1) await write(outboxRow(tell, { subject: "between" }));
            else statements.push(`${await pending()} pending`);
            return answer;
          },
        },
      });
      await using _ = await relay({ pool: own });
      const told = ["DELETE 2000", "DELETE 2000", "0 pending", "DELETE 999", "0 pending"];
      await vi.waitFor(() => expect(statements).toEqual(told), soon);
    });

    test("a relay whose database connection dies between enqueueing and marking goes on, and doubles nothing", async () => {
      const admin = new Client({ connectionString: bus.adminUrl });
      await admin.connect();
      let deaths = 0;
      const deadly: Jobs = {
        ...jobs,
        enqueue: async (...job) => {
          await jobs.enqueue(...job);
          deaths += 1;
          if (deaths > 1) return;
          await admin.query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'outbox-owner' AND datname = current_database()",
          );
        },
      };
      await write(outboxRow(tell, { subject: "once" }));
      await using _ = await relay({ jobs: deadly, sweepMs: 50 });
      await vi.waitFor(async () => expect(await pending()).toBe(0), soon);
      expect(deaths).toBe(2);
      await write(outboxRow(tell, { subject: "next" }));
      await vi.waitFor(() => expect(ran).toEqual(["once", "next"]), soon);
      await admin.end();
    });
  });
}
