/**
 * The whole of Continuo in this process: Postgres, subgraphs, workers and gateway, through the composition roots that
 * production processes use. For one machine; to scale, run many processes instead.
 */
import { migrate, startEmbeddedPostgres, type EmbeddedPostgres } from "@continuo/database";
import { createLogger, type Logger, SetupError } from "@continuo/process";
import { join, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Env } from "./env.ts";
import { databaseUrls, roomEnvironments } from "./rooms.ts";
import { loadSecrets } from "./secrets.ts";
import { selfCheck } from "./self-check.ts";
import type { Terminal } from "./terminal.ts";

export interface Embedded extends AsyncDisposable {
  /** The gateway's base URL, for example `http://127.0.0.1:4000`. */
  readonly url: string;
}

/** Starts a part as a phase shown on the terminal; its stop is shown as one too. */
export type Open = <Part extends AsyncDisposable>(name: string, start: () => Promise<Part>) => Promise<Part>;

const STOPPING_MS = 10_000;
const STOPPING_POLL_MS = 100;

/**
 * Starts everything and checks that it works. Closing stops the gateway first, then workers and subgraphs, the database last.
 */
export async function startEmbedded(env: Env, terminal: Terminal): Promise<Embedded> {
  const directory = resolve(env.DATA_DIRECTORY);
  await using opening = new AsyncDisposableStack();
  const open: Open = async (name, start) => {
    const part = await terminal.phase(name, start);
    opening.defer(() => terminal.phase(`stopping ${name}`, async () => part[Symbol.asyncDispose]()));
    return part;
  };

  const secrets = await loadSecrets(join(directory, "secrets.json"));
  const log = createLogger({ name: "postgres", level: env.LOG_LEVEL });
  // Takes a second of CPU on this core, while another starts Postgres.
  const loading = import("./start-rooms.ts");
  loading.catch(() => undefined);
  const adminUrl =
    env.DATABASE_URL ??
    (await open("postgres", () => startPostgres(join(directory, "postgres"), { log, terminal }))).adminUrl;
  await terminal.phase("migrations", () => migrate({ adminUrl, rolePasswords: secrets.databasePasswords, log }));

  const rooms = roomEnvironments({
    secrets,
    databaseUrl: databaseUrls(adminUrl, secrets.databasePasswords),
    redisUrl: env.REDIS_URL,
    mode: "development",
    logLevel: env.LOG_LEVEL,
  });
  const { startRooms } = await terminal.phase("loading", () => loading);
  const { url } = await startRooms({
    rooms,
    host: env.HOST,
    port: env.PORT,
    healthPort: env.HEALTH_PORT,
    open,
    terminal,
  });
  await terminal.phase("self-check", () => selfCheck({ url, password: secrets.selfCheckPassword, directory }));

  const opened = opening.move();
  return { url, [Symbol.asyncDispose]: () => opened.disposeAsync() };
}

/** Waits for a system on the same data that is still stopping because its terminal was closed. */
async function startPostgres(
  dataDirectory: string,
  { log, terminal }: { log: Logger; terminal: Terminal },
): Promise<EmbeddedPostgres> {
  const deadline = performance.now() + STOPPING_MS;
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await startEmbeddedPostgres({ dataDirectory, tuning: "durable", log });
    } catch (cause) {
      const mayPass = cause instanceof SetupError && cause.code === "E_PG_IN_USE";
      if (!mayPass || performance.now() > deadline) throw cause;
      if (attempt === 1) terminal.say("  Another start has this data open: waiting for it to stop");
      await delay(STOPPING_POLL_MS);
    }
  }
}
