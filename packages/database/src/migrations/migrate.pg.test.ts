import { createLogger } from "@continuo/process";
import { createTestDatabase } from "@continuo/testkit";
import { createHash } from "node:crypto";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client } from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startEmbeddedPostgres } from "../embedded/embedded-postgres.ts";
import { assertMigrated, loadLedger, loadMigrations, loadSchemaFiles } from "./history.ts";
import { migrate, MIGRATION_LOCK } from "./migrate.ts";
import { ROLES, roleUrl } from "./roles.ts";
import { openSchemaEngine } from "./schema-engine.ts";

const log = createLogger({ name: "test", level: "silent" });

describe("a migrated database", async () => {
  const database = await createTestDatabase();
  const admin = new Client({ connectionString: database.adminUrl });
  beforeAll(() => admin.connect());
  afterAll(async () => {
    await admin.end();
    await database[Symbol.asyncDispose]();
  });

  it("has Prisma's own ledger: one finished row per migration, with the checksum of its file", async () => {
    const { rows } = await admin.query(
      "SELECT migration_name, checksum, finished_at >= started_at AS finished, rolled_back_at, logs, applied_steps_count FROM _prisma_migrations ORDER BY migration_name",
    );
    const expected = (await loadMigrations()).map(({ name, sql }) => ({
      migration_name: name,
      checksum: createHash("sha256").update(sql).digest("hex"),
      finished: true,
      rolled_back_at: null,
      logs: null,
      applied_steps_count: 1,
    }));
    expect(rows).toEqual(expected);
  });

  it("does not drift from any schema file, and a column more would be seen", async () => {
    await using engine = await openSchemaEngine(database.adminUrl);
    const files = await loadSchemaFiles();
    const differences = async (): Promise<Record<string, string>> => {
      const found: Record<string, string> = {};
      for (const file of files) found[file.owner] = await engine.difference(file);
      return found;
    };
    expect(await differences()).toEqual({ gateway: "", identity: "", session: "", user_state: "" });
    await admin.query("ALTER TABLE session.devices ADD COLUMN colour text");
    expect(await differences()).toEqual({
      gateway: "",
      identity: "",
      session: expect.stringContaining('DROP COLUMN "colour"'),
      user_state: "",
    });
  });

  it("is recognised as migrated by every service's role", async () => {
    for (const url of [database.url.identity, database.url.session, database.url.userState])
      await expect(withClient(url, assertMigrated)).resolves.toBeUndefined();
  });
});

describe("migrating", async () => {
  const server = await startEmbeddedPostgres({
    dataDirectory: await mkdtemp(join(tmpdir(), "continuo-migrate-")),
    tuning: "throwaway",
    log,
  });
  const { adminUrl } = server;
  const rolePasswords = { identity: "one", session: "two", userState: "three", gateway: "it's 4" };
  afterAll(() => server[Symbol.asyncDispose]());

  async function newDatabase(name: string): Promise<string> {
    await withClient(adminUrl, (client) => client.query(`CREATE DATABASE ${name}`));
    return adminUrl.replace(/\/continuo$/, `/${name}`);
  }

  it("is asked for by a service that finds an older database", async () => {
    const [first] = await loadMigrations();
    const older = await newDatabase("older");
    await using engine = await openSchemaEngine(older);
    await engine.apply([{ name: first?.name ?? "", sql: "SELECT 1;" }]);
    for (const url of [adminUrl, older])
      await expect(withClient(url, assertMigrated)).rejects.toMatchObject({
        code: "E_DB_NOT_MIGRATED",
        fix: "Run: npm run migrate",
      });
  });

  it("happens once when two start it at the same time, and changes nothing afterwards", async () => {
    const names = (await loadMigrations()).map(({ name }) => name);
    const applied = await Promise.all([
      migrate({ adminUrl, rolePasswords, log }),
      migrate({ adminUrl, rolePasswords, log }),
    ]);
    expect(applied.toSorted((a, b) => b.length - a.length)).toEqual([names, []]);
    expect(await migrate({ adminUrl, rolePasswords, log })).toEqual([]);
  });

  it("waits for another that is under way", async () => {
    await withClient(adminUrl, async (other) => {
      await other.query("SELECT pg_advisory_lock($1)", [MIGRATION_LOCK]);
      const migrating = migrate({ adminUrl, rolePasswords, log });
      const waiting = "SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = $1 AND NOT granted";
      await expect.poll(async () => (await other.query(waiting, [MIGRATION_LOCK])).rowCount).toBe(1);
      await other.query("SELECT pg_advisory_unlock($1)", [MIGRATION_LOCK]);
      expect(await migrating).toEqual([]);
    });
  });

  it("lets every role in with its password, and with a new one after it has changed", async () => {
    const changed = { ...rolePasswords, session: "changed" };
    await migrate({ adminUrl, rolePasswords, log });
    await withClient(
      roleUrl(adminUrl, ROLES.gateway, rolePasswords.gateway),
      async (client) => void (await client.query("LISTEN anything")),
    );
    await migrate({ adminUrl, rolePasswords: changed, log });
    await expect(withClient(roleUrl(adminUrl, ROLES.session, rolePasswords.session), assertMigrated)).rejects.toThrow(
      "password authentication failed",
    );
    await withClient(roleUrl(adminUrl, ROLES.session, changed.session), assertMigrated);
  });

  it("says so when the role may not", async () => {
    const noAdministrator = roleUrl(adminUrl, ROLES.session, rolePasswords.session);
    await migrate({ adminUrl, rolePasswords, log });
    const forgotten = { ...rolePasswords, identity: "another" };
    await expect(migrate({ adminUrl: noAdministrator, rolePasswords: forgotten, log })).rejects.toMatchObject({
      code: "E_DB_ROLE",
      message: expect.stringContaining("The role continuo_session may not migrate: permission denied"),
    });
  });

  it("takes temporary tables and foreign logins away from everybody but the roles, also where it has nothing to apply", async () => {
    await withClient(adminUrl, (client) => client.query("GRANT ALL ON DATABASE continuo TO PUBLIC"));
    expect(await migrate({ adminUrl, rolePasswords, log })).toEqual([]);
    await withClient(adminUrl, async (client) => void (await client.query("CREATE ROLE passer_by LOGIN PASSWORD 'x'")));
    const passerBy = new URL(adminUrl);
    passerBy.username = "passer_by";
    passerBy.password = "x";
    await expect(withClient(passerBy.href, assertMigrated)).rejects.toThrow("permission denied for database");
    const temporary = withClient(roleUrl(adminUrl, ROLES.identity, rolePasswords.identity), (client) =>
      client.query("CREATE TEMPORARY TABLE t ()"),
    );
    await expect(temporary).rejects.toThrow("permission denied to create temporary tables");
  });

  it("applies a migration whole or not at all, and again once it is right", async () => {
    const url = await newDatabase("halfway");
    const good = {
      name: "20260101000000_good",
      sql: "CREATE TABLE good (); DO $$ BEGIN PERFORM 1; PERFORM 2; END $$;",
    };
    const bad = { name: "20260102000000_next", sql: "CREATE TABLE next_one (); SELECT nothing FROM nowhere;" };
    await using engine = await openSchemaEngine(url);
    await expect(engine.apply([good, bad])).rejects.toThrow("nowhere");
    const tables = (client: Client): Promise<unknown> =>
      client
        .query("SELECT to_regclass('good') AS good, to_regclass('next_one') AS next_one")
        .then(({ rows }) => rows[0]);
    expect(await withClient(url, tables)).toEqual({ good: "good", next_one: null });

    const { applied, begun } = await withClient(url, loadLedger);
    expect([applied, begun]).toEqual([new Set([good.name]), new Set([bad.name])]);
    await engine.markRolledBack(bad.name);
    expect((await withClient(url, loadLedger)).begun).toEqual(new Set());
    expect(await engine.apply([good, { ...bad, sql: "CREATE TABLE next_one ();" }])).toEqual([bad.name]);
  });

  it("goes on where one broke off in the middle", async () => {
    const url = await newDatabase("broken_off");
    const names = (await loadMigrations()).map(({ name }) => name);
    await using engine = await openSchemaEngine(url);
    await expect(engine.apply([{ name: names[0] ?? "", sql: "SELECT nothing FROM nowhere;" }])).rejects.toThrow(
      "nowhere",
    );
    expect(await migrate({ adminUrl: url, rolePasswords, log })).toEqual(names);
  });

  it("is refused by a server that is too old, and touches nothing there", async () => {
    const url = new URL(await newDatabase("old"));
    await withClient(url.href, (client) =>
      client.query(`CREATE SCHEMA old;
        CREATE FUNCTION old.current_setting(text) RETURNS text LANGUAGE sql RETURN '170004'`),
    );
    url.searchParams.set("options", "-c search_path=old,pg_catalog");
    await expect(migrate({ adminUrl: url.href, rolePasswords, log })).rejects.toMatchObject({
      code: "E_DB_VERSION",
      message: expect.stringContaining("is Postgres 17"),
    });
    expect((await withClient(url.href, loadLedger)).applied).toEqual(new Set());
  });

  it("says what is wrong when the database cannot be reached", async () => {
    const nowhere = new URL(adminUrl);
    nowhere.port = "1";
    const stranger = new URL(adminUrl);
    stranger.password = "wrong";
    for (const [url, words] of [
      [nowhere.href, "ECONNREFUSED"],
      [stranger.href, "password authentication failed"],
      [adminUrl.replace(/\/continuo$/, "/missing"), "does not exist"],
    ] as const) {
      await expect(migrate({ adminUrl: url, rolePasswords, log })).rejects.toMatchObject({
        code: "E_DB_UNREACHABLE",
        message: expect.stringContaining(words),
      });
    }
  });
});

async function withClient<T>(url: string, use: (client: Client) => Promise<T>): Promise<T> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    return await use(client);
  } finally {
    await client.end();
  }
}
