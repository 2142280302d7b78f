/**
 * For developers: `node packages/database/src/new-migration-main.ts <name>` writes the migration that takes a migrated
 * database to the schema files. Read it before you commit it: the engine cannot tell a rename from a drop and an add.
 */
import { createLogger, runCommand, SetupError } from "@continuo/process";
import { randomBytes } from "node:crypto";
import { mkdir, mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startEmbeddedPostgres } from "./embedded/embedded-postgres.ts";
import { loadSchemaFiles, migrationsDirectory } from "./migrations/history.ts";
import { migrate } from "./migrations/migrate.ts";
import { openSchemaEngine } from "./migrations/schema-engine.ts";

await runCommand(async () => {
  const name = process.argv[2] ?? "";
  if (!/^[a-z][a-z0-9_]*$/.test(name))
    throw new SetupError(
      "E_DB_MIGRATION_NAME",
      "A migration needs a name in snake_case.",
      "node packages/database/src/new-migration-main.ts add_device_icon",
    );
  const sql = await differenceToSchemaFiles();
  if (sql === "") {
    process.stdout.write("The migrations already say what the schema files say.\n");
    return;
  }
  const directory = join(migrationsDirectory, `${new Date().toISOString().replaceAll(/\D/g, "").slice(0, 14)}_${name}`);
  await mkdir(directory);
  await writeFile(join(directory, "migration.sql"), `${sql}\n`);
  process.stdout.write(`${directory}/migration.sql\n`);
});

async function differenceToSchemaFiles(): Promise<string> {
  const log = createLogger({ name: "new-migration", level: "warn" });
  const dataDirectory = await mkdtemp(join(tmpdir(), "continuo-migration-"));
  await using server = await startEmbeddedPostgres({ dataDirectory, tuning: "throwaway", log });
  const password = randomBytes(16).toString("hex");
  const rolePasswords = { identity: password, session: password, userState: password, gateway: password };
  await migrate({ adminUrl: server.adminUrl, rolePasswords, log });
  await using engine = await openSchemaEngine(server.adminUrl);
  const parts: string[] = [];
  for (const file of await loadSchemaFiles()) parts.push(await engine.difference(file));
  return parts.filter((part) => part !== "").join("\n\n");
}
