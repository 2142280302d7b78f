/**
 * Brings a database to what this version of the code expects: roles, tables, queues, grants. Idempotent.
 * The only code that connects as administrator.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { databaseUnreachable, type Logger, SetupError } from "@continuo/process";
import { Client, DatabaseError } from "pg";
import { loadLedger, loadMigrations, prismaDirectory } from "./history.ts";
import { ensureRoles, type RolePasswords } from "./roles.ts";

export interface MigrateOptions {
  /** A role that may create roles and schemas. */
  readonly adminUrl: string;
  readonly rolePasswords: RolePasswords;
  readonly log: Logger;
}

/** The Postgres schema of the queues (BullMQ's own tables). */
const JOBS_SCHEMA = "jobs";
const MINIMUM_MAJOR = 18;
const PERMISSION_DENIED = "42501";
/** The advisory lock that serialises concurrent migrations. The number only has to be ours. */
export const MIGRATION_LOCK = 1_853_189_219;

/**
 * Migrates; returns the names of the migrations it applied. Throws SetupError E_DB_UNREACHABLE, E_DB_VERSION,
 * E_DB_ROLE, E_DB_MIGRATION.
 */
export async function migrate({ adminUrl, rolePasswords, log }: MigrateOptions): Promise<string[]> {
  const admin = await connect(adminUrl);
  try {
    await assertVersion(admin);
    await admin.query("SELECT pg_advisory_lock($1)", [MIGRATION_LOCK]);
    await ensureRoles(admin, adminUrl, rolePasswords);
    const applied = await applyPending(admin, adminUrl);
    // Imported here so that processes which only serve load neither BullMQ nor Prisma's engine.
    const { runMigrations: migrateQueues } = await import("bullmq");
    await migrateQueues(admin, JOBS_SCHEMA);
    await admin.query(await readFile(join(prismaDirectory, "grants.sql"), "utf8"));
    log.info({ applied }, applied.length === 0 ? "the database is up to date" : "the database has been migrated");
    return applied;
  } catch (cause) {
    throw cause instanceof DatabaseError && cause.code === PERMISSION_DENIED ? noAdministrator(adminUrl, cause) : cause;
  } finally {
    // Also releases the lock.
    await admin.end();
  }
}

async function connect(adminUrl: string): Promise<Client> {
  const admin = new Client({
    connectionString: adminUrl,
    application_name: "continuo-migrate",
    connectionTimeoutMillis: 10_000,
  });
  admin.on("error", () => undefined);
  try {
    await admin.connect();
    return admin;
  } catch (cause) {
    throw databaseUnreachable(adminUrl, cause);
  }
}

function noAdministrator(adminUrl: string, cause: DatabaseError): SetupError {
  return new SetupError(
    "E_DB_ROLE",
    `The role ${new URL(adminUrl).username} may not migrate: ${cause.message}.`,
    "Set DATABASE_URL to an administrator, who may create roles and schemas.",
    cause,
  );
}

async function assertVersion(admin: Client): Promise<void> {
  const { rows } = await admin.query<{ major: number }>(
    "SELECT current_setting('server_version_num')::int / 10000 AS major",
  );
  const major = rows[0]?.major ?? 0;
  if (major >= MINIMUM_MAJOR) return;
  throw new SetupError(
    "E_DB_VERSION",
    `The database server is Postgres ${major}; Continuo needs ${MINIMUM_MAJOR} or later.`,
    `Point DATABASE_URL to a Postgres ${MINIMUM_MAJOR} server.`,
  );
}

async function applyPending(admin: Client, adminUrl: string): Promise<string[]> {
  const { applied, begun } = await loadLedger(admin);
  const migrations = await loadMigrations();
  if (migrations.every(({ name }) => applied.has(name))) return [];
  const { openSchemaEngine } = await import("./schema-engine.ts");
  await using engine = await openSchemaEngine(adminUrl);
  try {
    // A migration is one transaction, and we hold the lock: one that began and did not finish has left nothing behind.
    for (const name of begun) await engine.markRolledBack(name);
    return await engine.apply(migrations);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message.split("\n   0:")[0]?.trim() : String(cause);
    const names = [...(await loadLedger(admin)).begun].join(", ") || "a migration";
    throw new SetupError(
      "E_DB_MIGRATION",
      `Could not apply ${names}: ${why}.`,
      "Correct the migration and run: npm run migrate",
      cause,
    );
  }
}
