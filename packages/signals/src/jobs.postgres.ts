/**
 * BullMQ on Postgres, in the schema `jobs`. The migrations are run elsewhere, by an administrator: here a role with
 * USAGE on the schema, DML on its tables and USAGE on its sequences suffices, as long as every job comes with an id
 * (an id of BullMQ's making would create a sequence).
 */
import { setTimeout as pause } from "node:timers/promises";
import { PostgresConnection, PostgresQueueBackend } from "bullmq";
import type { Logger } from "@continuo/process";
import { Client } from "pg";
import type { JobsBackend } from "./jobs.backend.ts";

const JOBS_SCHEMA = "jobs";

const LONGEST_WAIT_SECONDS = 5;
const PAUSE_AFTER_ERROR_MS = 500;

/** A worker's backend that looks for itself every 5 s, whatever became of its LISTEN, and never spins on an error. */
class PatientBackend extends PostgresQueueBackend {
  override get maximumBlockTimeout(): number {
    return LONGEST_WAIT_SECONDS;
  }

  override async moveToActive(
    ...claim: Parameters<PostgresQueueBackend["moveToActive"]>
  ): ReturnType<PostgresQueueBackend["moveToActive"]> {
    try {
      return await super.moveToActive(...claim);
    } catch (cause) {
      await pause(PAUSE_AFTER_ERROR_MS);
      throw cause;
    }
  }
}

/** Connects to the queue's database. Rejects when it cannot be reached or BullMQ's migrations have not been run. */
export async function openPostgresBackend(options: { databaseUrl: string; logger: Logger }): Promise<JobsBackend> {
  const { databaseUrl, logger } = options;

  function connect(max: number): PostgresConnection {
    const connection = new PostgresConnection({
      connectionString: databaseUrl,
      schema: JOBS_SCHEMA,
      migrate: false,
      application_name: "continuo-jobs",
      connectionTimeoutMillis: 5_000,
      query_timeout: 30_000,
      keepAlive: true,
      // A crash may take back the last moments of a queue: then a job runs again, as after the death of its worker. What
      // an outbox has handed over stays, since its mark commits later.
      options: "-c synchronous_commit=off",
      max,
    });
    connection.on("error", (cause: unknown) => logger.debug({ err: cause }, "a job queue lost its connection"));
    return connection;
  }

  const shared = connect(3);
  await shared.waitUntilReady();

  return {
    queue: {
      factory: (name, opts) => new PostgresQueueBackend(shared, name, { ...opts, connection: databaseUrl }, false),
      connection: {},
    },
    worker: {
      factory: (name, opts) => new PatientBackend(connect(2), name, { ...opts, connection: databaseUrl }, true, name),
      connection: {},
    },
    // BullMQ's upsert of a schedule reads before it writes: two at once in one millisecond would end the schedule.
    alone: async (name, work) => {
      const client = new Client({
        connectionString: databaseUrl,
        application_name: "continuo-jobs",
        connectionTimeoutMillis: 5_000,
      });
      client.on("error", () => undefined);
      try {
        await client.connect();
        await client.query("SELECT pg_advisory_lock(hashtextextended($1, 0))", [`${JOBS_SCHEMA}:${name}`]);
        await work();
      } finally {
        await client.end();
      }
    },
    [Symbol.asyncDispose]: () => shared.close(),
  };
}
