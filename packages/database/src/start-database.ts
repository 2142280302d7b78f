import { databaseUnreachable, SetupError } from "@continuo/process";
import type { Pool } from "pg";
import { assertMigrated } from "./migrations/history.ts";
import { openDatabase, type Database, type DatabaseOptions } from "./open-database.ts";

export interface StartOptions<Client> extends DatabaseOptions<Client> {
  /** The Postgres schema that the process keeps its tables in. */
  readonly schema: string;
}

/**
 * As `openDatabase`, after checking that the database is reachable and migrated, and that the role may use `schema`.
 * Throws SetupError: E_DB_UNREACHABLE, E_DB_NOT_MIGRATED, E_DB_ROLE.
 */
export async function startDatabase<Client extends { $disconnect(): Promise<void> }>({
  schema,
  ...options
}: StartOptions<Client>): Promise<Database<Client>> {
  await using opening = new AsyncDisposableStack();
  const database = opening.use(openDatabase(options));
  try {
    await assertMigrated(database.pool);
    await assertRole(database.pool, schema);
  } catch (cause) {
    throw cause instanceof SetupError ? cause : databaseUnreachable(options.url, cause);
  }
  opening.move();
  return database;
}

/** Each process has its own role; with another's it would appear ready and fail at the first request. */
async function assertRole(pool: Pool, schema: string): Promise<void> {
  const { rows } = await pool.query<{ role: string; may: boolean }>(
    "SELECT current_user AS role, has_schema_privilege($1, 'USAGE') AS may",
    [schema],
  );
  const [found] = rows;
  if (!found || found.may) return;
  throw new SetupError(
    "E_DB_ROLE",
    `The role ${found.role} may not use the schema ${schema}.`,
    `Set DATABASE_URL to the role continuo_${schema}.`,
  );
}
