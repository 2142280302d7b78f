/**
 * BullMQ on Postgres, in the schema `jobs`. The migrations are run elsewhere, by an administrator: here a role with
 * USAGE on the schema, DML on its tables and USAGE on its sequences suffices, as long as every job comes with an id
 * (an id of BullMQ's making would create a sequence).
 */
import { EventEmitter } from "node:events";
import { setTimeout as pause } from "node:timers/promises";
import { PostgresConnection, type PostgresConnectionOptions, PostgresQueueBackend } from "bullmq";
import type { Logger } from "@continuo/process";
import { Client } from "pg";
import type { JobsBackend } from "./jobs.backend.ts";

const JOBS_SCHEMA = "jobs";

/** Of a process, beside the one that listens. */
const CONNECTIONS = 5;
/** Of a worker whom nobody notifies; that the connection which listens is still there is asked far more often, once for all of them. */
const LONGEST_WAIT_SECONDS = 30;
const PROBE_MS = 3_000;
const PAUSE_AFTER_ERROR_MS = 500;
/** How long somebody waits to be alone, and how long a host that is gone may keep others from it. Milliseconds. */
const LONELY_WITHIN_MS = 5_000;
const SILENT_AT_MOST_MS = 60_000;

/**
 * All that a process has of queues and workers is on this: each connection that listens is woken by whatever anybody
 * notifies, whatever it listens to.
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
   * Says again and again that it listens. One that broke off unnoticed has no answer: it is given up, another is opened, and
   * all who waited look for themselves.
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

/** Workers that start at once each say LISTEN, but a client takes one statement after the other. */
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
 * A worker's backend that looks for itself every 30 s, whatever became of its LISTEN, never spins on an error, and leaves
 * its connection to the others.
 */
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
    // A crash may take back the last moments of a queue: then a job runs again, as after the death of its worker. What
    // an outbox has handed over stays, since its mark commits later.
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
      factory: (name, opts) => new PatientBackend(connection, name, { ...opts, connection: databaseUrl }),
      connection: {},
      drainDelay: LONGEST_WAIT_SECONDS,
    },
    // BullMQ's upsert of a schedule reads before it writes: two at once in one millisecond would end the schedule.
    alone: async (name, work) => {
      const client = new Client({
        connectionString: databaseUrl,
        application_name: "continuo-jobs",
        connectionTimeoutMillis: 5_000,
        lock_timeout: LONELY_WITHIN_MS,
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
