import { createLogger, metrics } from "@continuo/process";
import { createTestDatabase } from "@continuo/testkit";
import type { PrismaPg } from "@prisma/adapter-pg";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { PoolClient } from "pg";
import { afterAll, expect, it, vi } from "vitest";
import { startEmbeddedPostgres } from "./embedded/embedded-postgres.ts";
import { openDatabase } from "./open-database.ts";
import { startDatabase } from "./start-database.ts";
import { inTransaction } from "./transaction.ts";

/** The part of a Prisma client between it and the pool: one adapter session for its whole life. */
class AdapterClient {
  readonly #session: ReturnType<PrismaPg["connect"]>;

  constructor({ adapter }: { adapter: PrismaPg }) {
    this.#session = adapter.connect();
  }

  async one(sql: string): Promise<unknown> {
    const session = await this.#session;
    const { rows } = await session.queryRaw({ sql, args: [], argTypes: [] });
    return rows[0]?.[0];
  }

  async $disconnect(): Promise<void> {
    await (await this.#session).dispose();
  }
}

const log = createLogger({ name: "test", level: "silent" });
const server = await startEmbeddedPostgres({
  dataDirectory: await mkdtemp(join(tmpdir(), "continuo-client-")),
  tuning: "throwaway",
  log,
});
const settings = {
  url: server.adminUrl,
  PrismaClient: AdapterClient,
  applicationName: "test",
  poolSize: 4,
  log,
};
const open = () => openDatabase(settings);
afterAll(() => server[Symbol.asyncDispose]());

it("Prisma and hand-written SQL share one pool, under the process's name", async () => {
  await using database = open();
  expect(await database.prisma.one("SELECT current_setting('application_name')")).toBe("test");
  await database.pool.query("SELECT 1");
  expect(database.pool.totalCount).toBe(1);
});

it("a process is told in a sentence why it cannot start on a database", async () => {
  const nowhere = new URL(settings.url);
  nowhere.port = "1";
  const start = (url: string) => startDatabase({ ...settings, url, schema: "identity" });
  await expect(start(nowhere.href)).rejects.toMatchObject({ code: "E_DB_UNREACHABLE" });
  await expect(start(settings.url)).rejects.toMatchObject({ code: "E_DB_NOT_MIGRATED" });
});

it("a process with the role of another is refused, and told which it needs", async () => {
  await using migrated = await createTestDatabase();
  const start = async (url: string): Promise<void> => {
    await using _ = await startDatabase({ ...settings, url, schema: "identity" });
  };
  await expect(start(migrated.url.session)).rejects.toMatchObject({
    code: "E_DB_ROLE",
    message: "The role continuo_session may not use the schema identity.",
    fix: "Set DATABASE_URL to the role continuo_identity.",
  });
  await start(migrated.url.identity);
});

it("tells how many connections are in use, and how many requests wait for one, for as long as it is open", async () => {
  const states = async (): Promise<string[]> =>
    (await metrics.text()).split("\n").filter((line) => line.includes('{pool="watched"'));
  {
    await using database = openDatabase({ ...settings, applicationName: "watched", poolSize: 1 });
    const held = await database.pool.connect();
    const waiting = database.pool.query("SELECT 1");
    const line = (state: string, value: number): string =>
      `continuo_database_connections{pool="watched",state="${state}"} ${value}`;
    expect(await states()).toEqual([line("used", 1), line("idle", 0), line("pending", 1)]);
    held.release();
    await waiting;
    expect(await states()).toEqual([line("used", 0), line("idle", 1), line("pending", 0)]);
  }
  expect(await states()).toEqual([]);
});

it("a statement is prepared once per connection, whoever sends it", async () => {
  await using database = open();
  for (let round = 0; round < 3; round += 1) {
    await database.prisma.one("SELECT 'by Prisma'");
    await database.pool.query({ name: "by_hand", text: "SELECT 'by hand'" });
  }
  const { rows } = await database.pool.query("SELECT name FROM pg_prepared_statements ORDER BY name");
  expect(rows).toEqual([{ name: "by_hand" }, { name: "prisma_0" }]);
});

it("a named statement is planned once per connection, for whatever values come, unless it is to be planned each time", async () => {
  for (const planning of ["ONCE", "EACH_TIME"] as const) {
    await using database = openDatabase({ ...settings, planning });
    for (let round = 0; round < 3; round += 1)
      await database.pool.query({ name: "planned", text: "SELECT $1::int", values: [round] });
    const { rows } = await database.pool.query(
      "SELECT generic_plans::int AS once, custom_plans::int AS anew FROM pg_prepared_statements WHERE name = 'planned'",
    );
    expect(rows).toEqual([planning === "ONCE" ? { once: 3, anew: 0 } : { once: 0, anew: 3 }]);
  }
});

it("a named statement that was planned while its tables were empty reads none of them whole, unless it is planned each time", async () => {
  for (const planning of ["ONCE", "EACH_TIME"] as const) {
    await using database = openDatabase({ ...settings, planning, poolSize: 1 });
    await database.pool.query("CREATE TEMP TABLE grown (id int PRIMARY KEY)");
    await database.pool.query("ANALYZE grown");
    await database.pool.query("PREPARE one AS SELECT FROM unnest($1::int[]) AS given (id) JOIN grown USING (id)");
    const { rows } = await database.pool.query<{ "QUERY PLAN": string }>("EXPLAIN EXECUTE one ('{1,2}')");
    const readsAll = rows.some((row) => row["QUERY PLAN"].includes("Seq Scan"));
    expect(readsAll).toBe(planning === "EACH_TIME");
  }
});

it("whoever hangs keeps nobody waiting: statements, locks and idle transactions have their time", async () => {
  await using database = openDatabase({ ...settings, lockTimeoutMs: 250 });
  const { rows } = await database.pool.query(
    "SELECT name, setting FROM pg_settings WHERE name ~ '^(statement|lock|idle_in_transaction_session)_timeout$' ORDER BY name",
  );
  expect(rows.map(({ name, setting }) => [name, setting])).toEqual([
    ["idle_in_transaction_session_timeout", "30000"],
    ["lock_timeout", "250"],
    ["statement_timeout", "30000"],
  ]);
});

it("a connection that cannot roll back goes to nobody else", async () => {
  await using database = open();
  const work = async (connection: PoolClient): Promise<never> => {
    connection.query = () => Promise.reject(new Error("lost"));
    throw new Error("no");
  };
  await expect(inTransaction(database.pool, work)).rejects.toThrow("no");
  expect(database.pool.totalCount).toBe(0);
});

it("the process outlives a kill of the server with connections idle, busy and in a transaction, and is served again", async () => {
  await using database = open();
  const inTransaction = await database.pool.connect();
  await inTransaction.query("BEGIN");
  const idle = await database.pool.connect();
  idle.release();
  const lost = new Promise((resolve) => inTransaction.once("end", resolve));
  const busy = database.pool.query("SELECT pg_sleep(60)");

  process.kill(server.pid, "SIGKILL");
  await expect(busy).rejects.toThrow(/terminat/);
  await lost;
  await expect(inTransaction.query("COMMIT")).rejects.toThrow("not queryable");
  inTransaction.release(true);

  await vi.waitFor(async () => expect(await database.prisma.one("SELECT 1")).toBe(1), { timeout: 60_000 });
  expect((await database.pool.query("SELECT 2 AS two")).rows).toEqual([{ two: 2 }]);
});
