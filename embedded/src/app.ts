/**
 * The whole of Continuo in this process: Postgres, subgraphs, workers, gateway, through the composition roots that
 * production processes use. For one machine; it scales by becoming many processes, not by growing.
 */
import { migrate, SetupError, startEmbeddedPostgres } from "@continuo/database";
import { startApp as startGateway } from "@continuo/gateway/app";
import { Env as GatewayEnv } from "@continuo/gateway/env";
import { startApp as startIdentity } from "@continuo/identity/app";
import { Env as IdentityEnv } from "@continuo/identity/env";
import { seed as seedIdentity } from "@continuo/identity/seed";
import { createLogger, loadEnv } from "@continuo/process";
import { startApp as startSession } from "@continuo/session/app";
import { Env as SessionEnv, WorkerEnv as SessionWorkerEnv } from "@continuo/session/env";
import { seed as seedSession } from "@continuo/session/seed";
import { startWorkers as startSessionWorkers } from "@continuo/session/worker";
import { startApp as startUserState } from "@continuo/user-state/app";
import { Env as UserStateEnv } from "@continuo/user-state/env";
import { seed as seedUserState } from "@continuo/user-state/seed";
import { startWorkers as startUserStateWorkers } from "@continuo/user-state/worker";
import { join, resolve } from "node:path";
import type { Env } from "./env.ts";
import { databaseUrls, roomEnvironments } from "./rooms.ts";
import { loadSecrets } from "./secrets.ts";
import { selfCheck } from "./self-check.ts";
import type { Terminal } from "./terminal.ts";

export interface Embedded extends AsyncDisposable {
  /** The gateway's, for example `http://127.0.0.1:4000`. */
  readonly url: string;
}

/** Starts all of it and tries it out. Closing stops the gateway first, then workers and subgraphs, the database last. */
export async function startEmbedded(env: Env, terminal: Terminal): Promise<Embedded> {
  const directory = resolve(env.DATA_DIRECTORY);
  await using opening = new AsyncDisposableStack();

  /** Starts a part as a phase, and stops it as one. */
  async function open<Part extends AsyncDisposable>(name: string, start: () => Promise<Part>): Promise<Part> {
    const part = await terminal.phase(name, start);
    opening.defer(() => terminal.phase(`stopping ${name}`, async () => part[Symbol.asyncDispose]()));
    return part;
  }

  const secrets = await loadSecrets(join(directory, "secrets.json"));
  const log = createLogger({ name: "postgres", level: env.LOG_LEVEL });
  const adminUrl =
    env.DATABASE_URL ??
    (
      await open("postgres", () =>
        startEmbeddedPostgres({ dataDirectory: join(directory, "postgres"), tuning: "durable", log }),
      )
    ).adminUrl;
  await terminal.phase("migrations", () => migrate({ adminUrl, rolePasswords: secrets.databasePasswords, log }));

  const rooms = roomEnvironments({
    secrets,
    databaseUrl: databaseUrls(adminUrl, secrets.databasePasswords),
    redisUrl: env.REDIS_URL,
    mode: "development",
    logLevel: env.LOG_LEVEL,
  });
  const anyPort = { PORT: "0" };
  const identityEnv = loadEnv(IdentityEnv, { ...rooms.identity, ...anyPort });
  const sessionEnv = loadEnv(SessionEnv, { ...rooms.session, ...anyPort });
  const userStateEnv = loadEnv(UserStateEnv, { ...rooms.userState, ...anyPort });
  await terminal.phase("seed", () =>
    Promise.all([seedIdentity(identityEnv), seedSession(sessionEnv), seedUserState(userStateEnv)]),
  );

  const identity = await open("identity", () => startIdentity(identityEnv));
  const session = await open("session", () => startSession(sessionEnv));
  const userState = await open("user-state", () => startUserState(userStateEnv));
  await open("session workers", () => startSessionWorkers(loadEnv(SessionWorkerEnv, rooms.session)));
  await open("user-state workers", () => startUserStateWorkers(userStateEnv));
  const gatewayEnv = loadEnv(GatewayEnv, {
    ...rooms.gateway,
    HOST: env.HOST,
    PORT: String(env.PORT),
    IDENTITY_URL: baseOf(identity.url),
    SESSION_URL: baseOf(session.url),
    USER_STATE_URL: baseOf(userState.url),
  });
  const { url } = await open("gateway", () => startGateway(gatewayEnv).catch(explainPort(env.PORT)));
  await terminal.phase("self-check", () => selfCheck({ url, password: secrets.selfCheckPassword, directory }));

  const opened = opening.move();
  return { url, [Symbol.asyncDispose]: () => opened.disposeAsync() };
}

function baseOf(url: string): string {
  return new URL(url).origin;
}

function explainPort(port: number): (cause: NodeJS.ErrnoException) => never {
  return (cause) => {
    if (cause.code !== "EADDRINUSE") throw cause;
    const fix = "Stop the program that holds it, or run: PORT=0 npm start (any free port).";
    throw new SetupError("E_PORT_BUSY", `Port ${port} is busy: another program holds it.`, fix, cause);
  };
}
