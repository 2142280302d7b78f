/** The replay cache in Postgres: one row per key in gateway.used_once, committed without waiting for the disk. */
import { createHash } from "node:crypto";
import { databaseUnreachable, type Logger, SetupError } from "@continuo/process";
import { DatabaseError, Pool } from "pg";
import { replayUnknown, type ReplayCache } from "./replay-cache.ts";

const CONNECTIONS = 4;
const ANSWER_WITHIN_MS = 3_000;
/**
 * After this many reservations a sweep deletes expired rows: more than were added since the last one, in a batch too
 * small to be noticed.
 */
const SWEEP_EVERY = 100;
const SWEEP_BATCH = 400;
/** SQLSTATE invalid_schema_name. */
const NO_SCHEMA = "3F000";
/** invalid_authorization_specification, invalid_password, invalid_catalog_name. */
const REFUSED: ReadonlySet<string> = new Set(["28000", "28P01", "3D000"]);

const RESERVE = `
  INSERT INTO gateway.used_once (key, expires_at) VALUES ($1, now() + $2 * interval '1 millisecond')
  ON CONFLICT (key) DO NOTHING`;
const SWEEP = `
  DELETE FROM gateway.used_once
  WHERE key = ANY (ARRAY(
    SELECT key FROM gateway.used_once WHERE expires_at <= now() ORDER BY expires_at LIMIT ${SWEEP_BATCH}))`;

/** Opens a small connection pool of its own. Throws SetupError as `assertUsable` does. */
export async function openPostgresReplayCache(options: {
  databaseUrl: string;
  logger: Logger;
}): Promise<ReplayCache & AsyncDisposable> {
  const { databaseUrl, logger } = options;
  const pool = new Pool({
    connectionString: databaseUrl,
    application_name: "continuo-replay-cache",
    max: CONNECTIONS,
    connectionTimeoutMillis: ANSWER_WITHIN_MS,
    query_timeout: ANSWER_WITHIN_MS,
    idleTimeoutMillis: 0,
    keepAlive: true,
    options: "-c synchronous_commit=off",
  });
  // Without these listeners a lost connection would crash the process.
  pool.on("error", (cause) => logger.debug({ err: cause }, "an idle connection was lost"));
  pool.on("connect", (client) => {
    client.on("error", (cause) => logger.debug({ err: cause }, "a connection was lost"));
  });
  try {
    await assertUsable(pool, databaseUrl);
  } catch (cause) {
    await pool.end();
    throw cause;
  }
  let reservations = 0;
  let sweeping: Promise<void> = Promise.resolve();

  async function sweep(): Promise<void> {
    try {
      await pool.query({ name: "sweep", text: SWEEP });
    } catch (cause) {
      logger.debug({ err: cause }, "what has expired was not cleared: a later turn will");
    }
  }

  return {
    async reserve(key, lifeMs) {
      const hash = createHash("sha256").update(key).digest();
      if (++reservations % SWEEP_EVERY === 0) sweeping = sweeping.then(sweep);
      try {
        const { rowCount } = await pool.query({ name: "reserve", text: RESERVE, values: [hash, Math.ceil(lifeMs)] });
        return rowCount === 1;
      } catch (cause) {
        throw replayUnknown(cause);
      }
    },
    async [Symbol.asyncDispose]() {
      await sweeping;
      await pool.end();
    },
  };
}

/** Waits for no server that is away. Throws SetupError E_DB_UNREACHABLE, E_DB_ROLE or E_DB_NOT_MIGRATED when one answers that it refuses. */
async function assertUsable(pool: Pool, databaseUrl: string): Promise<void> {
  const found = await pool
    .query<{ role: string; may: boolean }>(
      "SELECT current_user AS role, has_schema_privilege('gateway', 'USAGE') AS may",
    )
    .then(
      ({ rows }) => rows[0],
      (cause: unknown) => {
        const sqlState = cause instanceof DatabaseError ? (cause.code ?? "") : "";
        if (sqlState === NO_SCHEMA)
          throw new SetupError("E_DB_NOT_MIGRATED", "The database lacks the schema gateway.", "Run: npm run migrate");
        if (REFUSED.has(sqlState)) throw databaseUnreachable(databaseUrl, cause);
      },
    );
  if (!found || found.may) return;
  throw new SetupError(
    "E_DB_ROLE",
    `The role ${found.role} may not use the schema gateway.`,
    "Set DATABASE_URL to the role continuo_gateway.",
  );
}
