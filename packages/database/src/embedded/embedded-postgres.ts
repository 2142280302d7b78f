/**
 * A Postgres server of our own, from npm binaries, for development and tests where no other is installed.
 * It comes back on the same port after a crash. Not for production: there, DATABASE_URL names a real server.
 */
import { type Logger, SetupError } from "@continuo/process";
import { rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { loadAccount } from "./account.ts";
import { loadBinaries } from "./binaries.ts";
import { openCluster, readSettings, rememberPort, type Cluster } from "./cluster.ts";
import { freePort } from "./free-port.ts";
import {
  disownPid,
  findPostmaster,
  startPostmaster,
  stopPostmaster,
  type Postmaster,
  type Tuning,
} from "./postmaster.ts";
import { inUse, openSession, serves, takeOver, type Session } from "./session.ts";

export interface EmbeddedPostgresOptions {
  /** A directory for this server alone, with its cluster, password and log. Created when absent. */
  readonly dataDirectory: string;
  /** Default: the port of the last start if it is free, else any free one. */
  readonly port?: number | undefined;
  /** `throwaway` also removes `dataDirectory` when closed. */
  readonly tuning: Tuning;
  readonly log: Logger;
}

export interface EmbeddedPostgres extends AsyncDisposable {
  /** Superuser, database `continuo`. */
  readonly adminUrl: string;
  readonly port: number;
  /** The postmaster's; changes after a crash. */
  readonly pid: number;
}

const DATABASE = "continuo";
const POLL_MS = 10;
const READY_MS = 60_000;
const ORPHAN_MS = 15_000;
const RESTART_PAUSES_MS = [0, 100, 300, 1_000, 3_000];

/** Opens the server, creating or recovering its data as needed. Throws SetupError E_PG_…; closing stops it. */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const { tuning, log } = options;
  const account = await loadAccount();
  const binaries = await loadBinaries(account);
  const cluster = await openCluster(resolve(options.dataDirectory), {
    account,
    binaries,
    durable: tuning === "durable",
    now: new Date(),
  });
  await stopOrphan(cluster, log);
  const port = await choosePort(options.port, cluster.port);
  const start = (): Promise<Postmaster> => startPostmaster(cluster, { program: binaries.postgres, port, tuning });

  let postmaster = await start();
  let session = await superviseFrom(cluster, postmaster);
  const closing = new AbortController();
  const { signal } = closing;
  const supervision = supervise();

  async function supervise(): Promise<void> {
    for (;;) {
      await session.ended;
      if (signal.aborted) return;
      log.error({ postmaster: postmaster.pid }, "the embedded Postgres broke off: bringing it back");
      for (let attempt = 0; !signal.aborted; attempt += 1) {
        const pause = RESTART_PAUSES_MS[Math.min(attempt, RESTART_PAUSES_MS.length - 1)];
        await delay(pause, undefined, { signal }).catch(() => undefined);
        try {
          // When a single backend crashes, the postmaster lives on and restarts all of them.
          if (!(await findPostmaster(cluster))) postmaster = await start();
          if (signal.aborted) return;
          session = await superviseFrom(cluster, postmaster);
          log.info({ postmaster: postmaster.pid, port }, "the embedded Postgres is back");
          break;
        } catch (cause) {
          log.error({ err: cause }, "the embedded Postgres did not come back: trying again");
        }
      }
    }
  }

  async function close(): Promise<void> {
    if (signal.aborted) return;
    closing.abort();
    await stopPostmaster(postmaster.pid);
    await supervision;
    // A restart may have been under way when closing began.
    await stopPostmaster(postmaster.pid);
    if (tuning === "throwaway") await rm(cluster.home, { recursive: true, force: true });
  }

  try {
    await rememberPort(cluster, port);
    await ensureDatabase(session);
  } catch (cause) {
    await close();
    throw cause;
  }
  return {
    adminUrl: adminUrlOf(cluster.password, port),
    port,
    get pid() {
      return postmaster.pid;
    },
    [Symbol.asyncDispose]: close,
  };
}

const adminUrlOf = (password: string, port: number): string =>
  `postgresql://postgres:${password}@127.0.0.1:${port}/${DATABASE}`;

/**
 * `adminUrl` of a server that another process runs on `dataDirectory`; undefined when there is none. Throws SetupError
 * E_PG_PASSWORD.
 */
export async function findEmbeddedPostgres(dataDirectory: string): Promise<string | undefined> {
  const home = resolve(dataDirectory);
  const { pid, port } = (await findPostmaster({ directory: join(home, "cluster") })) ?? {};
  if (pid === undefined || port === undefined) return undefined;
  return adminUrlOf((await readSettings(home)).password, port);
}

/**
 * Stops a postmaster that outlived its supervisor, so that the new one gets today's settings. Throws E_PG_IN_USE, E_PG_STUCK.
 */
async function stopOrphan(cluster: Cluster, log: Logger): Promise<void> {
  const deadline = performance.now() + ORPHAN_MS;
  for (let found = await findPostmaster(cluster); found; found = await findPostmaster(cluster)) {
    const { pid } = found;
    const session = found.port === undefined ? undefined : await openSession(cluster, found.port);
    if (session) {
      try {
        if (!(await serves(session, cluster, pid))) return await disownPid(cluster);
        await takeOver(session, cluster);
        log.warn({ postmaster: pid }, "an earlier start left its Postgres running: stopping it");
        return await stopPostmaster(pid);
      } finally {
        await session.client.end().catch(() => undefined);
      }
    }
    if (performance.now() > deadline) {
      const fix = `Stop process ${pid}; if it is not this server, remove ${cluster.directory}/postmaster.pid.`;
      throw new SetupError(
        "E_PG_STUCK",
        `Process ${pid} holds the database in ${cluster.home} and does not answer.`,
        fix,
      );
    }
    await delay(POLL_MS);
  }
}

async function choosePort(wanted: number | undefined, last: number | undefined): Promise<number> {
  const port =
    wanted === undefined ? ((last && (await freePort(last))) ?? (await freePort(0))) : await freePort(wanted);
  if (port === undefined) throw portBusy(wanted ?? 0);
  return port;
}

/** Waits until the server accepts sessions, and becomes its supervisor. */
async function superviseFrom(cluster: Cluster, postmaster: Postmaster): Promise<Session> {
  const deadline = performance.now() + READY_MS;
  let last: string | undefined;
  void postmaster.exited.then((words) => (last = words));
  while (last === undefined) {
    const session = await openSession(cluster, postmaster.port);
    if (session) {
      await takeOver(session, cluster);
      return session;
    }
    if (performance.now() > deadline) {
      await stopPostmaster(postmaster.pid);
      last = `FATAL: not ready within ${READY_MS / 1_000} s`;
    }
    await delay(POLL_MS);
  }
  throw explain(last, cluster, postmaster.port);
}

function explain(words: string, cluster: Cluster, port: number): SetupError {
  if (/could not bind|Address already in use/.test(words)) return portBusy(port);
  if (/postmaster\.pid" already exists/.test(words)) return inUse(cluster);
  const why = words.split("\n").findLast((line) => /FATAL|PANIC|rror/.test(line)) ?? "it said nothing";
  const fix = `Read ${cluster.logFile}, or set DATABASE_URL to a Postgres server of your own.`;
  return new SetupError(
    "E_PG_START",
    `The embedded Postgres did not start: ${why.replace(/^.*?(FATAL|PANIC): +/, "")}.`,
    fix,
  );
}

function portBusy(port: number): SetupError {
  return new SetupError(
    "E_PG_PORT_BUSY",
    `Postgres cannot use port ${port}: another program holds it.`,
    "Stop that program, or choose another port.",
  );
}

async function ensureDatabase({ client }: Session): Promise<void> {
  const { rowCount } = await client.query("SELECT FROM pg_database WHERE datname = $1", [DATABASE]);
  if (rowCount === 0) await client.query(`CREATE DATABASE ${DATABASE}`);
}
