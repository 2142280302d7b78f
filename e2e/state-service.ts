/**
 * User-state alone, as separate processes on its own Postgres, all of which can be killed; and people who call it as
 * the gateway does.
 */
import { createIdentitySigner, generateKey, IDENTITY_HEADER, type Viewer } from "@continuo/access";
import { migrate, startEmbeddedPostgres, type EmbeddedPostgres } from "@continuo/database";
import { databaseUrls } from "@continuo/embedded/rooms";
import { createLogger } from "@continuo/process";
import {
  freePort,
  startFaultProxy,
  targetOf,
  testRolePasswords,
  throughProxy,
  type FaultProxy,
} from "@continuo/testkit";
import { startJobs } from "@continuo/signals/jobs";
import { retainState } from "@continuo/user-state/jobs";
import { BRIEF, DEFINITION } from "@continuo/user-state/simulation";
import { randomBytes, randomUUID } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Pool } from "pg";
import { eventually } from "./graph-client.ts";
import { readyAt, runToEnd, startProcess, type RunningProcess } from "./process.ts";
import { connectTo, stoodOf, type Ground } from "./state-client.ts";

const REPLICAS = 2;

export interface StateService extends Ground, AsyncDisposable {
  readonly processes: readonly [RunningProcess, ...RunningProcess[]];
  /** Runs retention when told to. */
  readonly worker: RunningProcess;
  /** Enqueues retention for the worker, or for the one that replaces it. */
  retain(): Promise<void>;
  /** As superuser, bypassing the wire: for arranging and inspecting. */
  readonly sql: Pool;
  /** The proxy between the processes and Postgres. */
  readonly wire: FaultProxy;
  /** Kills Postgres with `signal`, and waits until it is back. SIGQUIT is its immediate shutdown. */
  killPostgres(signal: "SIGKILL" | "SIGQUIT"): Promise<void>;
}

/** Starts everything, with the simulation's namespaces published. */
export async function startStateService(): Promise<StateService> {
  await using opening = new AsyncDisposableStack();
  const log = createLogger({ name: "state-service", level: "silent" });
  const directory = await mkdtemp(join(tmpdir(), "continuo-state-"));
  opening.defer(() => rm(directory, { recursive: true, force: true }));
  const postgres = opening.use(
    await startEmbeddedPostgres({ dataDirectory: join(directory, "postgres"), tuning: "durable", log }),
  );
  await migrate({ adminUrl: postgres.adminUrl, rolePasswords: testRolePasswords, log });
  const wire = opening.use(await startFaultProxy(targetOf(postgres.adminUrl, 5432)));
  const { publicJwk, privateJwk } = await generateKey("Ed25519");
  const { userState } = databaseUrls(postgres.adminUrl, testRolePasswords);
  const env = {
    HOST: "127.0.0.1",
    LOG_LEVEL: "error",
    REDIS_URL: "",
    DATABASE_URL: userState,
    GATEWAY_PUBLIC_KEY: JSON.stringify(publicJwk),
    CURSOR_KEY: randomBytes(32).toString("base64url"),
  };
  for (const definition of [DEFINITION, BRIEF]) {
    const file = join(directory, `${definition.name}.json`);
    await writeFile(file, JSON.stringify(definition));
    await runToEnd("services/user-state/src/operator-main.ts", env, ["namespaces", "publish", file]);
  }

  const start = async (index: number): Promise<{ process: RunningProcess; url: string }> => {
    const port = await freePort();
    const url = `http://127.0.0.1:${port}`;
    const process = await startProcess({
      name: `user-state-${index}`,
      file: "services/user-state/src/main.ts",
      env: { ...env, DATABASE_URL: throughProxy(userState, wire), PORT: String(port) },
      isReady: readyAt(url),
    });
    return { process: opening.use(process), url };
  };
  const started = await Promise.all(Array.from({ length: REPLICAS }, (_, index) => start(index)));
  const [first, ...others] = started;
  if (first === undefined) throw new Error("a service has at least one process");
  const worker = opening.use(
    await startProcess({
      name: "user-state-worker",
      file: "services/user-state/src/worker.ts",
      env: { ...env, LOG_LEVEL: "info", DATABASE_URL: throughProxy(userState, wire) },
    }),
  );
  await worker.says(/is working/);
  const jobs = opening.use(await startJobs({ databaseUrl: userState, logger: log }));
  const sql = opening.adopt(new Pool({ connectionString: postgres.adminUrl, max: 2 }), (pool) => pool.end());
  sql.on("error", () => undefined);
  const signer = createIdentitySigner(privateJwk);
  const opened = opening.move();

  return {
    processes: [first.process, ...others.map(({ process }) => process)],
    worker,
    async retain() {
      const enqueue = (): Promise<boolean> =>
        jobs.enqueue(retainState, {}).then(
          () => true,
          () => false,
        );
      await eventually("a queue that takes a job", enqueue, (isTaken) => isTaken);
    },
    sql,
    wire,
    killPostgres: (signal) => killPostgres(postgres, signal),
    async connect(network) {
      const userId = randomUUID();
      const wire = await connectTo([first.url, ...others.map(({ url }) => url)], network, async (deviceId) => ({
        [IDENTITY_HEADER]: await signer.sign({ kind: "viewer", viewer: viewerOn(userId, deviceId) }),
      }));
      return { ...wire, enrol: async () => randomUUID(), stood: () => stoodOf(sql, userId) };
    },
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

/** Kills Postgres with `signal`, and waits until it is back. */
export async function killPostgres(postgres: EmbeddedPostgres, signal: "SIGKILL" | "SIGQUIT"): Promise<void> {
  const { pid } = postgres;
  process.kill(pid, signal);
  await eventually(
    "another postmaster",
    async () => postgres.pid,
    (now) => now !== pid,
  );
}

function viewerOn(userId: string, deviceId: string): Viewer {
  const authTime = Math.floor(Date.now() / 1_000);
  return { userId, deviceId, sessionId: deviceId, applicationId: "continuo", acr: "1", amr: ["pwd"], authTime };
}
