import { createLogger } from "@continuo/process";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { Pool } from "pg";
import { z } from "zod";
import { WorkerEnv } from "../env.ts";
import { hold, lockWaiters } from "../lock.fixture.ts";
import { faultOf, type SignedIn } from "../person.fixture.ts";
import { startSystem, type System } from "../system.fixture.ts";
import { startWorkers } from "../worker-app.ts";
import { startWorkerProcess } from "../worker-process.fixture.ts";
import { createFanOut } from "./fan-out-revocation.jobs.ts";
import { createRevocationJobsStore } from "./jobs.store.ts";

const soon = { timeout: 60_000, interval: 50 };

const SignOut = z.object({ receipt: z.object({ seq: z.string() }) });

let system: System;
let webhook: string;
let pool: Pool;
beforeAll(async () => {
  system = await startSystem();
  webhook = await system.addWebhook();
  pool = new Pool({ connectionString: system.env.DATABASE_URL });
});
afterAll(async () => {
  await pool.end();
  await system[Symbol.asyncDispose]();
});

const rowsOf = async (text: string, values: unknown[] = []): Promise<Record<string, unknown>[]> =>
  (await system.admin.query<Record<string, unknown>>(text, values)).rows;

function workerEnv(jobs: string): WorkerEnv {
  const { DATABASE_URL, MASTER_KEY } = system.env;
  return WorkerEnv.parse({
    LOG_LEVEL: "silent",
    DATABASE_URL,
    MASTER_KEY: MASTER_KEY[0].toString("base64url"),
    JOBS: jobs,
  });
}

describe("the expiry of sessions", () => {
  it("is written once by many workers at a time, with the rows of a sign-out, and spares whoever is active", async () => {
    const person = system.person();
    const laptop = await person.signIn();
    const lapsed = await Promise.all(
      Array.from({ length: 40 }, () => system.person().signIn({ applicationId: "bank" })),
    );
    const shared = await person.signIn({ applicationId: "bank" });
    system.clock.advance(6_001);
    const alive = await system.person().signIn({ applicationId: "bank" });

    const store = createRevocationJobsStore(pool);
    const rounds = await Promise.all(Array.from({ length: 8 }, () => store.expire(system.clock.now, 15)));
    while ((await store.expire(system.clock.now, 15)).ended > 0);
    expect(Math.max(...rounds.map(({ found }) => found))).toBe(15);

    const ended = [...lapsed, shared].map(({ viewer }) => viewer.sessionId);
    const logged = await rowsOf(
      `SELECT s.id, s.state, s.end_reason AS reason, g.state AS grant, count(r.seq)::int AS logged, count(o.id)::int AS posted
         FROM session.sessions AS s
         JOIN session.grants AS g ON g.session_id = s.id
         LEFT JOIN session.revocations AS r ON s.id = ANY (r.session_ids) AND r.kind = 'SESSION' AND r.key = s.id::text
         LEFT JOIN session.outbox AS o ON o.payload -> 'seqs' @> to_jsonb(r.seq) AND o.topic = 'fan-out-revocation'
        WHERE s.id = ANY ($1) GROUP BY 1, 2, 3, 4`,
      [ended],
    );
    expect(logged).toHaveLength(41);
    for (const row of logged) {
      expect(row).toMatchObject({ state: "EXPIRED", reason: "IDLE", grant: "REVOKED", logged: 1, posted: 1 });
    }
    const { rows } = await pool.query(
      "SELECT max(seq) = (SELECT seq FROM session.revocation_head) AS whole, count(*) = max(seq) AS dense FROM session.revocations",
    );
    expect(rows).toEqual([{ whole: true, dense: true }]);
    await alive.refresh();
    await alive.data("mutation { signOut { receipt { seq } } }");
    const { deviceChanges } = await laptop.data(
      `{ deviceChanges(since: "2") { to devices { id isSignedIn signOut { reason } } } }`,
    );
    expect(deviceChanges).toEqual({
      to: "3",
      devices: [{ id: shared.viewer.deviceId, isSignedIn: false, signOut: { reason: "IDLE" } }],
    });
  });

  it("leaves a session alone whose user is being changed, and takes it in the next round", async () => {
    const session = await system.person().signIn({ applicationId: "bank" });
    system.clock.advance(6_001);
    const store = createRevocationJobsStore(pool);
    const change = await hold(system.admin, "SELECT FROM session.user_heads WHERE user_id = $1 FOR UPDATE", [
      session.viewer.userId,
    ]);
    await using _ = change;
    expect(await store.expire(system.clock.now, 10)).toMatchObject({ found: 1, ended: 0, logged: null });
    await change[Symbol.asyncDispose]();
    expect(await store.expire(system.clock.now, 10)).toMatchObject({ found: 1, ended: 1 });
  });

  it("begins with who has lapsed longest, however many have", async () => {
    const lapsed: string[] = [];
    for (let turn = 0; turn < 3; turn += 1) {
      lapsed.push((await system.person().signIn({ applicationId: "bank" })).viewer.sessionId);
      system.clock.advance(1_000);
    }
    // The update moves the row behind all others in the heap.
    await system.admin.query("UPDATE session.sessions SET country = country WHERE id = $1", [lapsed[0]]);
    system.clock.advance(6_001);
    const store = createRevocationJobsStore(pool);
    for (const _ of lapsed) expect(await store.expire(system.clock.now, 1)).toMatchObject({ ended: 1 });
    const logged = await rowsOf("SELECT key FROM session.revocations WHERE key = ANY ($1) ORDER BY seq", [lapsed]);
    expect(logged).toEqual(lapsed.map((key) => ({ key })));
  });

  it("is done by a worker on its own, and nothing is left for a second one", async () => {
    const session = await system.person().signIn({ applicationId: "bank" });
    system.clock.advance(6_001);
    const now = (): Date => system.clock.now;
    await using _one = await startWorkers(workerEnv("expire-sessions"), { now });
    await using _two = await startWorkers(workerEnv("expire-sessions"), { now });
    await vi.waitFor(async () => {
      expect(await rowsOf("SELECT state FROM session.sessions WHERE id = $1", [session.viewer.sessionId])).toEqual([
        { state: "EXPIRED" },
      ]);
    }, soon);
    expect(
      await rowsOf("SELECT FROM session.revocations WHERE $1 = ANY (session_ids)", [session.viewer.sessionId]),
    ).toHaveLength(1);
  });
});

describe("the fan-out of a revocation", () => {
  it("posts each sign-out to a webhook once, though its worker is killed in the middle", async () => {
    const people = await Promise.all(Array.from({ length: 10 }, () => system.person().signIn()));
    await Promise.all(people.map((each) => each.data("mutation { signOut { receipt { seq } } }")));
    const users = people.map(({ viewer }) => viewer.userId);
    const told = (): Promise<unknown[]> =>
      rowsOf("SELECT FROM session.revocations WHERE user_id = ANY ($1) AND told_at IS NOT NULL", [users]);
    // Two of the ten rows are locked, so the worker waits on a batch that contains them when it is killed.
    const blocked = await hold(system.admin, "SELECT FROM session.revocations WHERE user_id = ANY ($1) FOR UPDATE", [
      users.slice(0, 2),
    ]);
    await using _blocked = blocked;
    const worker = startFanOutProcess();
    await using _worker = worker;
    await lockWaiters(system.admin, 1);
    expect((await told()).length).toBeLessThan(10);
    await worker[Symbol.asyncDispose]();
    await blocked[Symbol.asyncDispose]();

    await using _ = await startWorkers(workerEnv("fan-out-revocation"), { now: () => system.clock.now });
    await vi.waitFor(async () => expect(await told()).toHaveLength(10), soon);
    const posted = await rowsOf(
      `SELECT r.user_id FROM session.outbox AS o JOIN session.revocations AS r ON r.seq = (o.payload ->> 'seq')::bigint
        WHERE o.payload ->> 'recipient' = $1 AND r.user_id = ANY ($2)`,
      [`webhook:${webhook}`, users],
    );
    expect(posted.map((row) => String(row["user_id"])).toSorted()).toEqual(users.toSorted());
    await vi.waitFor(
      async () => expect(await rowsOf("SELECT FROM session.outbox WHERE enqueued_at IS NULL")).toEqual([]),
      soon,
    );
  });

  it("has the person's devices looked at again: whoever ended the session may have died before saying so", async () => {
    const laptop = await system.person().signIn();
    const { signOut } = await laptop.data("mutation { signOut { receipt { seq } } }");
    const seqs = [Number(SignOut.parse(signOut).receipt.seq)];
    const poked: [string, number][] = [];
    const fanOut = createFanOut({
      store: createRevocationJobsStore(pool),
      announce: {
        devicesChanged: async (...poke) => void poked.push(poke),
        posted: async () => undefined,
      },
      now: () => system.clock.now,
    });
    const logger = createLogger({ name: "test", level: "silent" });
    await fanOut({ seqs }, { jobId: "1", attempt: 1, signal: new AbortController().signal, logger });
    expect(poked).toEqual([[laptop.viewer.userId, 2]]);
  });

  it("tells a webhook of its own application alone, also where it tells of several at once, and not again", async () => {
    const sessions = [await system.person().signIn(), await system.person().signIn({ applicationId: "bank" })];
    const seqs: number[] = [];
    for (const session of sessions) {
      const { signOut } = await session.data("mutation { signOut { receipt { seq } } }");
      seqs.push(Number(SignOut.parse(signOut).receipt.seq));
    }
    const id = await system.addWebhook("bank");
    const store = createRevocationJobsStore(pool);
    await store.deliver(seqs, system.clock.now);
    const told = await rowsOf("SELECT seq::int FROM session.revocation_deliveries WHERE recipient = $1", [
      `webhook:${id}`,
    ]);
    expect(told).toEqual([{ seq: seqs[1] }]);
    expect(await store.deliver(seqs, system.clock.now)).toMatchObject(seqs.map((seq) => ({ seq, posted: 0 })));
  });

  it("is done once by two at once, who take the locks in the log's order and so wait for each other", async () => {
    const seqs: number[] = [];
    for (let turn = 0; turn < 4; turn += 1) {
      const { signOut } = await (await system.person().signIn()).data("mutation { signOut { receipt { seq } } }");
      seqs.push(Number(SignOut.parse(signOut).receipt.seq));
    }
    const [first, ...others] = seqs;
    // The update moves the row behind all others in the heap, so a scan in physical order reaches it last.
    await system.admin.query("UPDATE session.revocations SET told_at = told_at WHERE seq = $1", [first]);
    const held = await hold(system.admin, "SELECT FROM session.revocations WHERE seq = $1 FOR UPDATE", [first]);
    await using _ = held;
    const store = createRevocationJobsStore(pool);
    const told = Promise.all([seqs, seqs.toReversed()].map((each) => store.deliver(each, system.clock.now)));
    await lockWaiters(system.admin, 2);
    expect(
      await rowsOf("SELECT FROM session.revocations WHERE seq = ANY ($1) FOR UPDATE SKIP LOCKED", [others]),
    ).toHaveLength(others.length);
    await held[Symbol.asyncDispose]();
    expect((await told).flat().reduce((sum, { posted }) => sum + posted, 0)).toBe(seqs.length);
  });

  it("needs no job where nobody is told: the sign-out is told with its commit", async () => {
    const aside = (isDisabled: boolean): Promise<unknown> =>
      system.admin.query("UPDATE session.webhooks SET disabled_at = CASE WHEN $1 THEN now() END", [isDisabled]);
    await aside(true);
    await using _ = { [Symbol.asyncDispose]: async () => void (await aside(false)) };
    const [laptop, phone] = [await system.person().signIn(), await system.person().signIn()];
    const traces = async ({ viewer }: SignedIn): Promise<unknown> =>
      rowsOf(
        `SELECT r.told_at = r.at AS "isTold", count(o.id)::int AS posted FROM session.revocations AS r
           LEFT JOIN session.outbox AS o ON o.payload -> 'seqs' @> to_jsonb(r.seq)
          WHERE r.user_id = $1 GROUP BY 1`,
        [viewer.userId],
      );
    await laptop.data("mutation { signOut { receipt { seq } } }");
    expect(await traces(laptop)).toEqual([{ isTold: true, posted: 0 }]);
    // An application with back-channel logout counts as a recipient.
    await system.admin.query(
      "UPDATE session.applications SET backchannel_logout_uri = 'https://bank.test' WHERE id = 'bank'",
    );
    await phone.data("mutation { signOut { receipt { seq } } }");
    expect(await traces(phone)).toEqual([{ isTold: null, posted: 1 }]);
    await system.admin.query("UPDATE session.applications SET backchannel_logout_uri = NULL");
  });

  it("has nothing to say about a revocation that is gone", async () => {
    expect(await createRevocationJobsStore(pool).deliver([999_999_999], new Date())).toEqual([]);
  });
});

describe("a dead worker", () => {
  it("extends no session by a millisecond", async () => {
    const session = await system.person().signIn({ applicationId: "bank" });
    system.clock.advance(5_999);
    await session.data("{ viewer { session { state } } }");
    system.clock.advance(1);
    for (const answer of [
      await session.graphql("{ viewer { session { state } } }"),
      await session.graphql(`mutation { renameDevice(id: "${session.viewer.deviceId}", name: "late") { id } }`),
      await session.graphql("{ deviceChanges { to } }"),
      await session.tryRefresh(),
    ]) {
      expect(faultOf(answer)).toBe("UNAUTHENTICATED SESSION_ENDED");
    }
    expect(await rowsOf("SELECT state FROM session.sessions WHERE id = $1", [session.viewer.sessionId])).toEqual([
      { state: "ACTIVE" },
    ]);
  });
});

/** Of all applications where none is given. */
/** A worker that fans out, until killed. */
function startFanOutProcess(): AsyncDisposable {
  return startWorkerProcess({
    DATABASE_URL: system.env.DATABASE_URL,
    MASTER_KEY: system.env.MASTER_KEY[0].toString("base64url"),
    LOG_LEVEL: "silent",
    JOBS: "fan-out-revocation",
  });
}
