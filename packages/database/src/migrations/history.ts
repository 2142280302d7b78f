/**
 * The migrations on disk and the ledger in the database (Prisma's own `public._prisma_migrations`).
 * Read-only: `migrate.ts` applies migrations.
 */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { SetupError } from "@continuo/process";
import type { ClientBase, Pool } from "pg";

/** The repository's `prisma/`: schema files, migrations, grants. */
export const prismaDirectory = fileURLToPath(new URL("../../../../prisma/", import.meta.url));
/** `prisma/migrations`. */
export const migrationsDirectory = join(prismaDirectory, "migrations");

export interface Migration {
  /** The directory name, `<timestamp>_<name>`. */
  readonly name: string;
  readonly sql: string;
}

/** A schema file of one owner, `prisma/<owner>.prisma`. */
export interface SchemaFile {
  readonly owner: string;
  readonly path: string;
  readonly content: string;
}

/** Every migration on disk, oldest first. */
export async function loadMigrations(directory = migrationsDirectory): Promise<Migration[]> {
  return Promise.all(
    (await migrationNames(directory)).map(async (name) => ({
      name,
      sql: await readFile(join(directory, name, "migration.sql"), "utf8"),
    })),
  );
}

/** Every schema file that has models, by name; one without models describes a Postgres schema whose tables are not ours. */
export async function loadSchemaFiles(): Promise<SchemaFile[]> {
  const names = (await readdir(prismaDirectory)).filter((name) => name.endsWith(".prisma")).toSorted();
  const files = await Promise.all(
    names.map(async (name) => {
      const path = join(prismaDirectory, name);
      return { owner: name.slice(0, -".prisma".length), path, content: await readFile(path, "utf8") };
    }),
  );
  return files.filter(({ content }) => /^model /m.test(content));
}

/**
 * Names of the migrations in the ledger: `applied`, and `begun` but not finished (their process died). Both empty
 * without a ledger.
 */
export async function loadLedger(database: ClientBase | Pool): Promise<{ applied: Set<string>; begun: Set<string> }> {
  const { rows: found } = await database.query<{ ledger: string | null }>(
    "SELECT to_regclass('public._prisma_migrations') AS ledger",
  );
  if (!found[0]?.ledger) return { applied: new Set(), begun: new Set() };
  const { rows } = await database.query<{ name: string; finished: boolean }>(
    "SELECT migration_name AS name, finished_at IS NOT NULL AS finished FROM public._prisma_migrations WHERE rolled_back_at IS NULL",
  );
  const names = (finished: boolean): Set<string> =>
    new Set(rows.filter((row) => row.finished === finished).map((row) => row.name));
  return { applied: names(true), begun: names(false) };
}

/** Refuses a database that lacks the newest migration on disk. Throws SetupError E_DB_NOT_MIGRATED. */
export async function assertMigrated(database: ClientBase | Pool): Promise<void> {
  const newest = (await migrationNames(migrationsDirectory)).at(-1);
  if (newest === undefined || (await loadLedger(database)).applied.has(newest)) return;
  throw new SetupError("E_DB_NOT_MIGRATED", `The database lacks the migration ${newest}.`, "Run: npm run migrate");
}

async function migrationNames(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { withFileTypes: true });
  return entries
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name)
    .toSorted();
}
