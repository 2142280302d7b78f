/** The system under test: gateway and services as real processes, over a Postgres of their own that is as durable as ever. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { Client } from "pg";
import { roomEnvironments, type Environment } from "../embedded/src/rooms.ts";
import { loadSecrets } from "../embedded/src/secrets.ts";
import { migrate, roleUrl, ROLES, startEmbeddedPostgres, type RoleOwner } from "../packages/database/src/index.ts";
import { createLogger } from "../packages/process/src/index.ts";
import { APPLICATION } from "./people.ts";

export interface Subject extends AsyncDisposable {
  /** The gateway's GraphQL endpoint. */
  readonly graphqlUrl: string;
  /** The JWK Set that verifies our access tokens. */
  readonly keySetUrl: string;
  /** Superuser: for yardsticks on the same tables. */
  readonly databaseUrl: string;
  readonly postgresPid: number;
  /** The processes that a request runs through. */
  readonly processes: { readonly gateway: readonly number[]; readonly services: readonly number[] };
}

/** Generous limits, so that nobody is signed out by a benchmark, and access tokens outlive it. */
const POLICY = `
INSERT INTO session.policies (application_id, version, state, idle_seconds, absolute_seconds, access_token_seconds,
       device_binding, max_sessions, at_limit, step_up_seconds, persistence, posture, activated_at)
VALUES ($1, 1, 'ACTIVE', 1209600, 2592000, 900, 'NONE', 1000, 'REFUSE', 300, true, 'OPEN', now())`;

const READY_MS = 30_000;

/** Starts all of it in a folder of its own; closing stops it and removes the folder. */
export async function openSubject(): Promise<Subject> {
  await using opening = new AsyncDisposableStack();
  const directory = await mkdtemp(join(tmpdir(), "continuo-bench-"));
  opening.defer(() => rm(directory, { recursive: true, force: true }));
  const log = createLogger({ name: "bench", level: "warn" });
  const postgres = opening.use(
    await startEmbeddedPostgres({ dataDirectory: join(directory, "postgres"), tuning: "durable", log }),
  );
  const { adminUrl } = postgres;
  const secrets = await loadSecrets(join(directory, "secrets.json"));
  await migrate({ adminUrl, rolePasswords: secrets.databasePasswords, log });
  await query(adminUrl, "INSERT INTO session.applications (id, name, created_at) VALUES ($1, 'Bench', now())", [
    APPLICATION,
  ]);
  await query(adminUrl, POLICY, [APPLICATION]);

  const url = (owner: RoleOwner): string => roleUrl(adminUrl, ROLES[owner], secrets.databasePasswords[owner]);
  const databaseUrl = {
    identity: url("identity"),
    session: url("session"),
    userState: url("userState"),
    gateway: url("gateway"),
  };
  const rooms = roomEnvironments({ secrets, databaseUrl, mode: "production", logLevel: "warn" });
  await run("services/user-state/src/seed.ts", rooms.userState);

  const start = async (program: string, environment: Environment): Promise<Running> =>
    opening.use(await startServer(program, environment));
  const [identity, session, userState] = await Promise.all([
    start("services/identity/src/main.ts", rooms.identity),
    start("services/session/src/main.ts", rooms.session),
    start("services/user-state/src/main.ts", rooms.userState),
  ]);
  const gateway = await start("gateway/src/main.ts", {
    ...rooms.gateway,
    IDENTITY_URL: identity.url,
    SESSION_URL: session.url,
    USER_STATE_URL: userState.url,
  });
  const opened = opening.move();
  return {
    graphqlUrl: `${gateway.url}/graphql`,
    keySetUrl: `${gateway.url}/.well-known/jwks.json`,
    databaseUrl: adminUrl,
    postgresPid: postgres.pid,
    processes: { gateway: [gateway.pid], services: [identity.pid, session.pid, userState.pid] },
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

interface Running extends AsyncDisposable {
  readonly url: string;
  readonly pid: number;
}

async function startServer(program: string, environment: Environment): Promise<Running> {
  const port = await freePort();
  const child = spawn(process.execPath, [program], {
    cwd: join(import.meta.dirname, ".."),
    env: { ...environment, PORT: String(port) },
    stdio: ["ignore", "inherit", "inherit"],
  });
  const url = `http://127.0.0.1:${port}`;
  const deadline = performance.now() + READY_MS;
  const ready = (): Promise<boolean> =>
    fetch(`${url}/ready`).then(
      (answer) => answer.ok,
      () => false,
    );
  while (!(await ready())) {
    if (child.exitCode !== null || performance.now() > deadline) throw new Error(`${program} does not become ready`);
    await delay(50);
  }
  return {
    url,
    pid: child.pid ?? 0,
    async [Symbol.asyncDispose]() {
      if (child.exitCode !== null) return;
      const exited = once(child, "exit");
      child.kill("SIGTERM");
      await exited;
    },
  };
}

async function run(program: string, environment: Environment): Promise<void> {
  const child = spawn(process.execPath, [program], {
    cwd: join(import.meta.dirname, ".."),
    env: { ...environment },
    stdio: "inherit",
  });
  const [code]: unknown[] = await once(child, "exit");
  if (code !== 0) throw new Error(`${program} ended with ${String(code)}`);
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}

/** One statement on a connection of its own. */
export async function query(databaseUrl: string, sql: string, values: readonly unknown[] = []): Promise<unknown[]> {
  const client = new Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    const { rows } = await client.query<Record<string, unknown>>(sql, [...values]);
    return rows;
  } finally {
    await client.end();
  }
}
