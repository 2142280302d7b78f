/**
 * BullMQ on Postgres, in the schema `jobs`. An administrator runs the migrations elsewhere: here a role with USAGE on
 * the schema, DML on its tables and USAGE on its sequences suffices, as long as every job comes with an id (for an id
 * of its own, BullMQ would create a sequence).
 */
import { EventEmitter } from "node:events";
import { setTimeout as pause } from "node:timers/promises";
import { PostgresConnection, type PostgresConnectionOptions, PostgresQueueBackend } from "bullmq";
import { databaseUnreachable, type Logger } from "@continuo/process";
import { Client } from "pg";
import type { JobsBackend } from "./jobs.backend.ts";

const JOBS_SCHEMA = "jobs";

/** Per process, besides the one that listens. */
const CONNECTIONS = 5;
/** How long a worker waits without a notification before it polls; the shared listening connection is probed far more often. */
const LONGEST_WAIT_SECONDS = 30;
const PROBE_MS = 3_000;
const PAUSE_AFTER_ERROR_MS = 500;
/** How long `alone` waits for its lock, and how long a host that is gone may keep holding it. Milliseconds. */
const LOCK_TIMEOUT_MS = 5_000;
const SILENT_AT_MOST_MS = 60_000;

/**
 * One pool for all queues and workers of a process, since Postgres wakes every listening connection at every NOTIFY,
 * whatever its channel.
 */
class SharedConnection extends PostgresConnection {
  #listening: ListenClient | undefined;

  constructor(options: PostgresConnectionOptions) {
    super(options);
    this.setMaxListeners(0);
  }

  override async getListenClient(): Promise<ListenClient> {
    const client = await super.getListenClient();
    if (client !== this.#listening) {
      this.#listening = client;
      if (client instanceof EventEmitter) client.setMaxListeners(0);
      takeTurns(client);
      void this.#probe(client);
    }
    return client;
  }

  /**
   * Repeats LISTEN as a probe. A connection that broke unnoticed does not answer: it is given up, another is opened,
   * and all waiting workers poll.
   */
  async #probe(client: ListenClient): Promise<void> {
    try {
      while (client === this.#listening) {
        await pause(PROBE_MS, undefined, { ref: false });
        const silence = pause(PROBE_MS, undefined, { ref: false }).then(() => Promise.reject(new Error("no answer")));
        await Promise.race([client.query("LISTEN bullmq_jobs"), silence]);
      }
    } catch (cause) {
      if (client === this.#listening && client instanceof EventEmitter) client.emit("error", cause);
    }
  }

  override close(): Promise<void> {
    this.#listening = undefined;
    return super.close();
  }
}

type ListenClient = Awaited<ReturnType<PostgresConnection["getListenClient"]>>;

/** Workers that start together each send LISTEN, but a client runs one statement at a time. */
function takeTurns(client: ListenClient): void {
  const query: ListenClient["query"] = client.query.bind(client);
  let last: Promise<unknown> = Promise.resolve();
  client.query = (text, params) => {
    const answer = last.then(() => query(text, params));
    last = answer.catch(() => undefined);
    return answer;
  };
}

/**
 * A worker's backend that polls every 30 s whatever became of its LISTEN, pauses after an error instead of spinning,
 * and leaves the shared connection open when it closes.
 */
class PollingBackend extends PostgresQueueBackend {
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

  override close(): Promise<void> {
    this.closing ??= this.disconnectBlocking();
    return this.closing;
  }

  override disconnect(): Promise<void> {
    return this.close();
  }
}

/** Connects to the queue's database. Rejects when it cannot be reached or BullMQ's migrations have not been run. */
export async function openPostgresBackend(options: { databaseUrl: string; logger: Logger }): Promise<JobsBackend> {
  const { databaseUrl, logger } = options;

  const connection = new SharedConnection({
    connectionString: databaseUrl,
    schema: JOBS_SCHEMA,
    migrate: false,
    application_name: "continuo-jobs",
    connectionTimeoutMillis: 5_000,
    query_timeout: 30_000,
    keepAlive: true,
    // A crash may undo a queue's last moments: such a job runs again, as after the death of its worker. What an outbox
    // has handed over stays, since the outbox marks it in a later commit.
    options: "-c synchronous_commit=off",
    max: CONNECTIONS,
  });
  connection.on("error", (cause: unknown) => logger.debug({ err: cause }, "the job queues lost a connection"));
  await connection.waitUntilReady();

  return {
    queue: {
      factory: (name, opts) => new PostgresQueueBackend(connection, name, { ...opts, connection: databaseUrl }, false),
      connection: {},
    },
    worker: {
      factory: (name, opts) => new PollingBackend(connection, name, { ...opts, connection: databaseUrl }),
      connection: {},
      drainDelay: LONGEST_WAIT_SECONDS,
    },
    // BullMQ's upsert of a schedule reads before it writes: two in the same millisecond would end the schedule.
    unreachable: (cause) => databaseUnreachable(databaseUrl, cause),
    alone: async (name, work) => {
      const client = new Client({
        connectionString: databaseUrl,
        application_name: "continuo-jobs",
        connectionTimeoutMillis: 5_000,
        lock_timeout: LOCK_TIMEOUT_MS,
        options: `-c idle_session_timeout=${SILENT_AT_MOST_MS}`,
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
    [Symbol.asyncDispose]: () => connection.close(),
  };
}
