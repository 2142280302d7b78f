import { createTestDatabase } from "@continuo/testkit";
import { createHash } from "node:crypto";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { assertMigrated, loadMigrations, loadSchemaFiles } from "./history.ts";
import { openSchemaEngine } from "./schema-engine.ts";

const database = await createTestDatabase();
const admin = new pg.Client({ connectionString: database.adminUrl });
beforeAll(() => admin.connect());
afterAll(async () => {
  await admin.end();
  await database[Symbol.asyncDispose]();
});

describe("the ledger", () => {
  it("is Prisma's own: one finished row per migration, with the checksum of its file", async () => {
    const { rows } = await admin.query("SELECT migration_name, checksum, finished_at IS NOT NULL AS finished, rolled_back_at, logs, applied_steps_count FROM _prisma_migrations ORDER BY migration_name");
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
});

describe("drift", () => {
  it("is nil between the migrated database and every schema file", async () => {
    await using engine = await openSchemaEngine(database.adminUrl);
    const drift = Object.fromEntries(await Promise.all((await loadSchemaFiles()).map(async (file) => [file.owner, await engine.difference(file)])));
    expect(drift).toEqual({ identity: "", session: "", user_state: "" });
  });
});

it("every service can see that the database is migrated", async () => {
  for (const url of [database.url.identity, database.url.session, database.url.userState]) {
    await using pool = Object.assign(new pg.Pool({ connectionString: url, max: 1 }), { async [Symbol.asyncDispose]() { await pool.end(); } });
    await assertMigrated(pool);
  }
});
