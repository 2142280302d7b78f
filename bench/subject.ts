/** The system under test: gateway and services as real processes, over a Postgres of their own that is as durable as ever. */
import { randomBytes, randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client } from "pg";
import { startProcess, type RunningProcess } from "../e2e/process.ts";
import { startSystem } from "../e2e/system.ts";
import { createGrantSigner } from "../packages/access/src/index.ts";
import { databaseUrls } from "../embedded/src/rooms.ts";
import { loadSecrets } from "../embedded/src/secrets.ts";
import { migrate, startEmbeddedPostgres } from "../packages/database/src/index.ts";
import { createLogger } from "../packages/process/src/index.ts";
import { freePort } from "../packages/testkit/src/index.ts";
import { APPLICATION } from "./people.ts";

export interface Subject extends AsyncDisposable {
  /** The gateway's base. */
  readonly origin: string;
  /** The gateway's GraphQL endpoint. */
  readonly graphqlUrl: string;
  /** What identity would give somebody who has just proved to be `userId`: hashing passwords is slow on purpose. */
  signInGrant(userId: string): Promise<string>;
  /** The JWK Set that verifies our access tokens. */
  readonly keySetUrl: string;
  /** Superuser: for yardsticks on the same tables. */
  readonly databaseUrl: string;
  readonly postgresPid: number;
  /** The processes that a request runs through. */
  readonly processes: { readonly gateway: readonly number[]; readonly services: readonly number[] };
  /** The last warnings and errors that its processes logged, for when something fails. */
  complaints(): string[];
}

/** Generous limits, so that nobody is signed out by a benchmark, and access tokens outlive it. */
const POLICY = `
INSERT INTO session.policies (application_id, version, state, idle_seconds, absolute_seconds, access_token_seconds,
       device_binding, max_sessions, at_limit, step_up_seconds, persistence, posture, activated_at)
VALUES ($1, 1, 'ACTIVE', 1209600, 2592000, 900, 'NONE', 1000, 'REFUSE', 1209600, true, 'OPEN', now())`;

/**
 * Where ours runs: gateway, subgraphs and workers each a process, as when it is scaled; or all in one, as `npm start` runs it
 * (its subgraphs answer the gateway without a network).
 */
export type Layout = "PROCESSES" | "ONE_PROCESS";

/** Starts all of it in a folder of its own; closing stops it and removes the folder. */
export async function openSubject(layout: Layout): Promise<Subject> {
  await using opening = new AsyncDisposableStack();
  const directory = await mkdtemp(join(tmpdir(), "continuo-bench-"));
  opening.defer(() => rm(directory, { recursive: true, force: true }));
  const log = createLogger({ name: "bench", level: "warn" });
  const postgres = opening.use(
    await startEmbeddedPostgres({ dataDirectory: join(directory, "postgres"), tuning: "durable", log }),
  );
  const databaseUrl = postgres.adminUrl;
  const start = layout === "PROCESSES" ? startProcesses : startOneProcess;
  const { origin, grantKey, processes, running } = await start(databaseUrl, directory, opening);
  await query(databaseUrl, "INSERT INTO session.applications (id, name, created_at) VALUES ($1, 'Bench', now())", [
    APPLICATION,
  ]);
  await query(databaseUrl, POLICY, [APPLICATION]);
  const opened = opening.move();
  const grants = createGrantSigner(grantKey);
  return {
    origin,
    graphqlUrl: `${origin}/graphql`,
    signInGrant(userId) {
      const now = new Date();
      const auth_time = Math.floor(now.getTime() / 1_000);
      return grants.sign({ jti: randomUUID(), sub: userId, acr: "aal1", amr: ["pwd"], auth_time }, now);
    },
    keySetUrl: `${origin}/.well-known/jwks.json`,
    databaseUrl,
    postgresPid: postgres.pid,
    processes,
    complaints: () => running.flatMap((one) => one.log().split("\n").filter(isComplaint).slice(-3)),
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

interface Started extends Pick<Subject, "origin" | "processes"> {
  readonly grantKey: Parameters<typeof createGrantSigner>[0];
  readonly running: readonly RunningProcess[];
}

async function startProcesses(
  databaseUrl: string,
  _directory: string,
  opening: AsyncDisposableStack,
): Promise<Started> {
  const secret = randomBytes(18).toString("base64url");
  const rolePasswords = { identity: secret, session: secret, userState: secret, gateway: secret };
  const log = createLogger({ name: "bench", level: "warn" });
  await migrate({ adminUrl: databaseUrl, rolePasswords, log });
  const system = opening.use(
    await startSystem({ databaseUrl: databaseUrls(databaseUrl, rolePasswords), logLevel: "warn" }),
  );
  const [gateway] = system.gateways;
  const services = Object.values(system.subgraphs).flat();
  return {
    origin: gateway.url,
    grantKey: system.keys.grant.privateJwk,
    processes: { gateway: [gateway.pid], services: services.map(({ pid }) => pid) },
    running: [...system.gateways, ...services, ...Object.values(system.workers)],
  };
}

async function startOneProcess(
  databaseUrl: string,
  directory: string,
  opening: AsyncDisposableStack,
): Promise<Started> {
  const file = join(directory, "secrets.json");
  const secrets = await loadSecrets(file);
  const port = await freePort();
  const continuo = opening.use(
    await startProcess({
      name: "continuo",
      file: "embedded/src/main.ts",
      env: { DATABASE_URL: databaseUrl, DATA_DIRECTORY: directory, PORT: String(port), LOG_LEVEL: "warn" },
    }),
  );
  await continuo.says(/Continuo is ready/);
  return {
    origin: `http://127.0.0.1:${port}`,
    grantKey: secrets.grantKey.privateJwk,
    processes: { gateway: [continuo.pid], services: [] },
    running: [continuo],
  };
}

/** A log line of pino at level warn (40) or above. */
function isComplaint(line: string): boolean {
  return /"level":[456]0/.test(line);
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
