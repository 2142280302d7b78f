/** What reads and retention cost among very many rows: they touch only the rows they concern. */
import { randomUUID } from "node:crypto";
import { costOf, createTestDatabase, type Cost, type Statement, type TestDatabase } from "@continuo/testkit";
import { Client, Pool } from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { READ_STANDING } from "./entry/standing.store.ts";
import { createRetentionStore } from "./retention/retention.store.ts";
import { READ_PAGES } from "./stream/stream.store.ts";

const MANY = 100_000;
const DAY_MS = 24 * 3_600_000;
const NOW = Date.UTC(2026, 0, 2);
/** Between their neighbours in every index. */
const HOARDER = "50000000-0000-4000-8000-000000000000";
const ORDINARY = "70000000-0000-4000-8000-000000000000";
const NEIGHBOUR = "60000000-0000-4000-8000-000000000000";

let database: TestDatabase;
let admin: Pool;
beforeAll(async () => {
  database = await createTestDatabase();
  admin = new Pool({ connectionString: database.adminUrl, max: 1 });
  await keep(HOARDER, MANY);
  await keep(ORDINARY, 100);
  await analyze();
});
afterAll(async () => {
  await admin.end();
  await database[Symbol.asyncDispose]();
});

/** Gives somebody so many entries, each of a revision of its own. */
async function keep(userId: string, entries: number): Promise<void> {
  await admin.query("INSERT INTO user_state.user_heads (user_id, epoch, rev) VALUES ($1, $2, $3)", [
    userId,
    randomUUID(),
    entries,
  ]);
  await admin.query(
    `INSERT INTO user_state.state_entries (user_id, namespace, key, field, kind, state, deleted, ms, rev, schema_version, bytes)
     SELECT $1, 'notes', 'key ' || n, 'text', 'REGISTER', '{"standing": null, "history": []}', false, n, n, 1, 20
     FROM generate_series(1, $2::int) AS n`,
    [userId, entries],
  );
}

const analyze = (): Promise<unknown> => admin.query("VACUUM ANALYZE");

describe("a pull of five changes", () => {
  const pull = (user_id: string, after: number): Promise<Cost> =>
    costOf(admin, {
      text: READ_PAGES,
      values: [JSON.stringify([{ place: 0, user_id, after, floor: 0, first: 501 }])],
    });

  it("out of a hundred thousand entries reads those, by the index of revisions, and a handful of pages", async () => {
    const { indexes, rows, buffers } = await pull(HOARDER, MANY - 5);
    expect(indexes).toContain("state_entries_user_id_rev_idx");
    expect(rows["state_entries"]).toBe(5);
    expect(buffers).toBeLessThan(20);
  });

  it("costs the same whatever others keep", async () => {
    const before = await pull(ORDINARY, 95);
    await keep(NEIGHBOUR, 5_000);
    await analyze();
    expect(await pull(ORDINARY, 95)).toEqual(before);
  });
});

it("a push finds its own among a hundred thousand entries, and as many answers, by their keys", async () => {
  await admin.query(
    `INSERT INTO user_state.op_outcomes (user_id, client_id, seq, status, at)
     SELECT $1, $1, n, 'NOOP', now() FROM generate_series(1, $2::int) AS n`,
    [ORDINARY, MANY],
  );
  await analyze();
  const units = [7, 9].map((n) => ({ namespace: "notes", key: `key ${n}`, field: "text" }));
  const asked = [
    { place: 0, user_id: HOARDER, client_id: HOARDER, units, seqs: [] },
    { place: 1, user_id: ORDINARY, client_id: ORDINARY, units: [], seqs: [2, 3] },
  ];
  const { indexes, rows } = await costOf(admin, { text: READ_STANDING, values: [JSON.stringify(asked)] });
  expect(indexes).toEqual(
    expect.arrayContaining(["state_entries_pkey", "state_entries_expires_idx", "op_outcomes_pkey"]),
  );
  expect(rows).toMatchObject({ state_entries: 2, op_outcomes: 2 });
});

describe("retention", () => {
  /** The statements that `work` has the store send. */
  async function statementsOf(
    work: (store: ReturnType<typeof createRetentionStore>) => Promise<unknown>,
  ): Promise<Statement[]> {
    const sent: Statement[] = [];
    class Overheard extends Client {
      constructor(...options: ConstructorParameters<typeof Client>) {
        super(...options);
        const query = this.query.bind(this);
        this.query = (...asked: unknown[]) => {
          const [text, values] = asked;
          if (typeof text === "string" && Array.isArray(values)) sent.push({ text, values });
          return Reflect.apply(query, this, asked);
        };
      }
    }
    const pool = new Pool({ connectionString: database.url.userState, max: 1, Client: Overheard });
    try {
      await work(createRetentionStore(pool));
    } finally {
      await pool.end();
    }
    return sent;
  }

  const cutoff = new Date(NOW - 90 * DAY_MS);

  it("finds who has something to forget, and forgets it, without looking at what stays", async () => {
    await admin.query(
      `UPDATE user_state.state_entries SET deleted = true, removed_ms = $2, ms = $2 WHERE user_id = $1 AND rev <= 5`,
      [HOARDER, cutoff.getTime() - 1],
    );
    await analyze();
    const [users] = await statementsOf((store) => store.usersWithRemovals(cutoff, ORDINARY, 500));
    const [, prune] = await statementsOf((store) => store.pruneTombstones(ORDINARY, cutoff));
    const [, maps] = await statementsOf((store) => store.pruneMaps(ORDINARY, cutoff));
    for (const statement of [users, prune, maps]) {
      if (statement === undefined) throw new Error("retention asked for nothing");
      const { values, text } = statement;
      const cost = await costOf(admin, { text, values: values.map((value) => (value === ORDINARY ? HOARDER : value)) });
      expect(cost.indexes).toContain("state_entries_removed_idx");
      expect(cost.scanned).not.toContain("state_entries");
      expect(cost.buffers).toBeLessThan(60);
    }
  });

  it("finds old answers by their age", async () => {
    await admin.query(
      `INSERT INTO user_state.op_outcomes (user_id, client_id, seq, status, at)
       SELECT $1, $1, n, 'NOOP', to_timestamp($2) + (n - 10) * interval '1 second' FROM generate_series(1, $3::int) AS n`,
      [HOARDER, NOW / 1_000, MANY],
    );
    await analyze();
    const [forget] = await statementsOf((store) => store.forgetAnswers(new Date(0), 500));
    if (forget === undefined) throw new Error("retention asked for nothing");
    const cost = await costOf(admin, { text: forget.text, values: [new Date(NOW), 500] });
    expect(cost.indexes).toContain("op_outcomes_at_idx");
    expect(cost.scanned).not.toContain("op_outcomes");
    expect(cost.buffers).toBeLessThan(150);
  });

  it("finds idle replicas by the day on which they were last seen", async () => {
    await admin.query(
      `INSERT INTO user_state.sync_clients (user_id, client_id, device_id, last_seq, acked_rev, seen_at)
       SELECT gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 1, 1, to_timestamp($1) + (n - 10) * interval '1 day'
       FROM generate_series(1, $2::int) AS n`,
      [NOW / 1_000, MANY],
    );
    await analyze();
    const [lock] = await statementsOf((store) => store.forgetReplicas(new Date(0), 500));
    if (lock === undefined) throw new Error("retention asked for nothing");
    const cost = await costOf(admin, { text: lock.text, values: [new Date(NOW), 500] });
    expect(cost.indexes).toContain("sync_clients_seen_on_idx");
    expect(cost.scanned).not.toContain("sync_clients");
    expect(cost.buffers).toBeLessThan(150);
  });
});
