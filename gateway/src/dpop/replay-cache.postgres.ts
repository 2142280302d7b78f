/** The replay cache in Postgres: one row per key in gateway.used_once, committed without waiting for the disk. */
import { createHash } from "node:crypto";
import type { Logger } from "@continuo/process";
import { Pool } from "pg";
import { replayUnknown, type ReplayCache } from "./replay-cache.ts";

const CONNECTIONS = 4;
const ANSWER_WITHIN_MS = 3_000;
/**
 * After this many reservations a sweep deletes expired rows: more than were added since the last one, in a batch too
 * small to be noticed.
 */
const SWEEP_EVERY = 100;
const SWEEP_BATCH = 400;

const RESERVE = `
  INSERT INTO gateway.used_once (key, expires_at) VALUES ($1, now() + $2 * interval '1 millisecond')
  ON CONFLICT (key) DO NOTHING`;
const SWEEP = `
  DELETE FROM gateway.used_once
  WHERE key = ANY (ARRAY(
    SELECT key FROM gateway.used_once WHERE expires_at <= now() ORDER BY expires_at LIMIT ${SWEEP_BATCH}))`;

/** Opens a small connection pool of its own; connects on first use. */
export function openPostgresReplayCache(options: {
  databaseUrl: string;
  logger: Logger;
}): ReplayCache & AsyncDisposable {
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
