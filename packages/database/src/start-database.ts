import { assertMigrated } from "./migrations/history.ts";
import { openDatabase, type Database, type DatabaseOptions } from "./open-database.ts";
import { SetupError } from "./setup-error.ts";
import { databaseUnreachable } from "./unreachable.ts";

/** As `openDatabase`, once it is there and migrated. Throws SetupError: E_DB_UNREACHABLE, E_DB_NOT_MIGRATED. */
export async function startDatabase<Client extends { $disconnect(): Promise<void> }>(
  options: DatabaseOptions<Client>,
): Promise<Database<Client>> {
  await using opening = new AsyncDisposableStack();
  const database = opening.use(openDatabase(options));
  await assertMigrated(database.pool).catch((cause: unknown) => {
    throw cause instanceof SetupError ? cause : databaseUnreachable(options.url, cause);
  });
  opening.move();
  return database;
}
