/** The system under test: gateway and services as real processes, over their own Postgres with full durability. */
import { randomBytes, randomUUID } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client } from "pg";
import { repository, startProcess, type RunningProcess } from "../e2e/process.ts";
import { startSubgraph, startSystem, type ServerProcess } from "../e2e/system.ts";
import { createGrantSigner, type Jwk } from "../packages/access/src/index.ts";
import { databaseUrls, roomEnvironments, type Environment } from "../embedded/src/rooms.ts";
import { loadSecrets } from "../embedded/src/secrets.ts";
import { migrate, startEmbeddedPostgres } from "../packages/database/src/index.ts";
import { createLogger } from "../packages/process/src/index.ts";
import { freePort } from "../packages/testkit/src/index.ts";
import { inspectable, type Inspectable } from "./inspector.ts";
import { APPLICATION } from "./people.ts";

export interface Subject extends AsyncDisposable {
  /** The gateway's base URL. */
  readonly origin: string;
  /** The gateway's GraphQL endpoint. */
  readonly graphqlUrl: string;
  /** A sign-in grant as identity would sign it for `userId`, without the deliberately slow password hash. */
  signInGrant(userId: string): Promise<string>;
  /** The JWK Set that verifies our access tokens. */
  readonly keySetUrl: string;
  /** Superuser: for yardsticks on the same tables. */
  readonly databaseUrl: string;
  readonly postgresPid: number;
  /** The processes that handle a request. */
  readonly processes: { readonly gateway: readonly [number]; readonly services: readonly number[] };
  /** The gateway's process. */
  readonly inspected: Inspectable;
  /**
   * Subgraphs for another gateway to use. If ours run inside the gateway's process, starts the same ones as separate processes.
   */
  openSubgraphs(stack: AsyncDisposableStack): Promise<Subgraphs>;
  /** The latest warnings and errors that its processes logged, for when something fails. */
  complaints(): string[];
}

/** The subgraphs as processes, and the settings of a gateway over them. */
export interface Subgraphs {
  readonly pids: readonly number[];
  readonly supergraph: string;
  /** By name in the supergraph: the GraphQL endpoint of each, and its own part of the graph. */
  readonly subgraphs: Readonly<Record<string, { readonly url: string; readonly api: string }>>;
  /** The JWK Set that verifies callers' access tokens, and their issuer and audience. */
  readonly keySet: unknown;
  readonly token: { readonly issuer: string; readonly audience: string };
  /** Signs the statements that subgraphs accept. */
  readonly gatewayKey: Jwk;
}

/** Generous limits, so that no benchmark runs into them and access tokens outlive it. */
const POLICY = `
INSERT INTO session.policies (application_id, version, state, idle_seconds, absolute_seconds, access_token_seconds,
       device_binding, max_sessions, at_limit, step_up_seconds, persistence, posture, activated_at)
VALUES ($1, 1, 'ACTIVE', 1209600, 2592000, 900, 'NONE', 1000, 'REFUSE', 1209600, true, 'OPEN', now())`;

/**
 * How ours runs: gateway, subgraphs and workers as separate processes, as in the scaled form; or all in one, as `npm
 * start` runs it (its subgraphs answer the gateway without a network).
 */
export type Layout = "PROCESSES" | "ONE_PROCESS";

/** Starts everything in its own folder; closing stops it and removes the folder. */
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
  const inspectorPort = await freePort();
  const env = inspectable(inspectorPort);
  const { origin, grantKey, gateway, processes, running, openServer } = await start(
    databaseUrl,
    directory,
    env,
    opening,
  );
  await query(databaseUrl, "INSERT INTO session.applications (id, name, created_at) VALUES ($1, 'Bench', now())", [
    APPLICATION,
  ]);
  await query(databaseUrl, POLICY, [APPLICATION]);
  const opened = opening.move();
  const keySetUrl = `${origin}/.well-known/jwks.json`;
  const grants = createGrantSigner(grantKey);
  return {
    origin,
    graphqlUrl: `${origin}/graphql`,
    signInGrant(userId) {
      const now = new Date();
      const auth_time = Math.floor(now.getTime() / 1_000);
      return grants.sign({ jti: randomUUID(), sub: userId, acr: "aal1", amr: ["pwd"], auth_time }, now);
    },
    keySetUrl,
    databaseUrl,
    postgresPid: postgres.pid,
    processes,
    inspected: { pid: processes.gateway[0], inspectorPort },
    async openSubgraphs(stack) {
      const pids: number[] = [];
      const subgraphs: Record<string, { url: string; api: string }> = {};
      for (const [owner, name] of SUBGRAPHS) {
        const { url, pid } = await openServer(owner, stack);
        pids.push(pid);
        subgraphs[name] = { url: `${url}/graphql`, api: await readText(`services/${name}/api.graphql`) };
      }
      const keySet: unknown = await (await fetch(keySetUrl)).json();
      return { ...gateway, pids, supergraph: await readText("gateway/supergraph.graphql"), subgraphs, keySet };
    },
    complaints: () => running.flatMap((one) => one.log().split("\n").filter(isComplaint).slice(-3)),
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

interface Started extends Pick<Subject, "origin" | "processes"> {
  readonly grantKey: Jwk;
  readonly gateway: Pick<Subgraphs, "gatewayKey" | "token">;
  readonly running: readonly RunningProcess[];
  /** A subgraph as a process: the running one, or a new one that the stack ends. */
  readonly openServer: (owner: Subgraph, stack: AsyncDisposableStack) => Promise<Pick<ServerProcess, "url" | "pid">>;
}

/** Owner, and name in the supergraph. */
const SUBGRAPHS = [
  ["identity", "identity"],
  ["session", "session"],
  ["userState", "user-state"],
] as const;
type Subgraph = (typeof SUBGRAPHS)[number][0];

function tokenOf({ TOKEN_ISSUER = "", TOKEN_AUDIENCE = "" }: Environment): Subgraphs["token"] {
  return { issuer: TOKEN_ISSUER, audience: TOKEN_AUDIENCE };
}

function readText(path: string): Promise<string> {
  return readFile(join(repository, path), "utf8");
}

async function startProcesses(
  databaseUrl: string,
  _directory: string,
  gatewayEnv: Environment,
  opening: AsyncDisposableStack,
): Promise<Started> {
  const secret = randomBytes(18).toString("base64url");
  const rolePasswords = { identity: secret, session: secret, userState: secret, gateway: secret };
  const log = createLogger({ name: "bench", level: "warn" });
  await migrate({ adminUrl: databaseUrl, rolePasswords, log });
  const system = opening.use(
    await startSystem({ databaseUrl: databaseUrls(databaseUrl, rolePasswords), logLevel: "warn", gatewayEnv }),
  );
  const [gateway] = system.gateways;
  const services = Object.values(system.subgraphs).flat();
  return {
    origin: gateway.url,
    grantKey: system.keys.grant.privateJwk,
    gateway: { gatewayKey: system.keys.gateway.privateJwk, token: tokenOf(system.environments.gateway) },
    processes: { gateway: [gateway.pid], services: services.map(({ pid }) => pid) },
    running: [...system.gateways, ...services, ...Object.values(system.workers)],
    openServer: async (owner) => {
      const [server] = system.subgraphs[owner];
      if (!server) throw new Error(`nothing serves ${owner}`);
      return server;
    },
  };
}

async function startOneProcess(
  databaseUrl: string,
  directory: string,
  env: Environment,
  opening: AsyncDisposableStack,
): Promise<Started> {
  const file = join(directory, "secrets.json");
  const secrets = await loadSecrets(file);
  const port = await freePort();
  const continuo = opening.use(
    await startProcess({
      name: "continuo",
      file: "embedded/src/main.ts",
      env: { DATABASE_URL: databaseUrl, DATA_DIRECTORY: directory, PORT: String(port), LOG_LEVEL: "warn", ...env },
    }),
  );
  await continuo.says(/Continuo is ready/);
  const origin = `http://127.0.0.1:${port}`;
  const rooms = roomEnvironments({
    secrets,
    databaseUrl: databaseUrls(databaseUrl, secrets.databasePasswords),
    mode: "production",
    logLevel: "warn",
  });
  return {
    origin,
    grantKey: secrets.grantKey.privateJwk,
    // OAuth clients require the issuer to be the URL they found it at.
    gateway: { gatewayKey: secrets.gatewayKey.privateJwk, token: tokenOf({ ...rooms.gateway, TOKEN_ISSUER: origin }) },
    processes: { gateway: [continuo.pid], services: [] },
    running: [continuo],
    openServer: async (owner, stack) => stack.use(await startSubgraph(owner, rooms[owner])),
  };
}

/** A log line of pino at level warn (40) or above. */
function isComplaint(line: string): boolean {
  return /"level":[456]0/.test(line);
}

/** Runs one statement on its own connection. */
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
