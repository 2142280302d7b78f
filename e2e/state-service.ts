/**
 * User state by itself, as processes of its own on a Postgres of its own, both of which can be killed; and somebody who
 * talks to it as the gateway does, over a network that fails as told.
 */
import { createIdentitySigner, generateKey, IDENTITY_HEADER, type Viewer } from "@continuo/access";
import { migrate, startEmbeddedPostgres, type EmbeddedPostgres } from "@continuo/database";
import { databaseUrls } from "@continuo/embedded/rooms";
import { AppError, ERROR_CODES, isAppError } from "@continuo/errors";
import { KIND_NAMES } from "@continuo/merge";
import { PushResponse, StateBatch, STATES } from "@continuo/merge/protocol";
import { createLogger } from "@continuo/process";
import {
  freePort,
  startFaultProxy,
  startHttpFaultProxy,
  targetOf,
  testRolePasswords,
  throughProxy,
  type FaultProxy,
  type HttpFault,
  type HttpFaultProxy,
} from "@continuo/testkit";
import { DEFINITION, type Server, type Stood } from "@continuo/user-state/simulation";
import { randomBytes } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Pool } from "pg";
import { z } from "zod";
import { eventually } from "./graph-client.ts";
import { readyAt, runToEnd, startProcess, type RunningProcess } from "./process.ts";

const REPLICAS = 2;
/** A device gives up after this. */
const PATIENCE_MS = 1_500;

export interface StateService extends AsyncDisposable {
  readonly processes: readonly [RunningProcess, ...RunningProcess[]];
  /** Between the processes and Postgres. */
  readonly wire: FaultProxy;
  /** Ends Postgres with `signal`, and waits until it is back. SIGQUIT is its immediate shutdown. */
  killPostgres(signal: "SIGKILL" | "SIGQUIT"): Promise<void>;
  /** A network between one person and the service. */
  connect(options: {
    userId: string;
    faultOf: () => HttpFault;
    lateMs?: () => number;
    /** Whether somebody is taken for signed out, this once. */
    isSignedOut?: () => boolean;
    overheard?: (request: string, answer: string) => void;
  }): Promise<Connection>;
  /** What stands of a person's state, as Postgres has it. */
  stood(userId: string): Promise<Stood>;
}

export interface Connection extends AsyncDisposable {
  readonly server: Server;
  readonly counts: HttpFaultProxy["counts"];
}

/** Starts all of it, with the simulation's namespace published. */
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
  const definition = join(directory, "life.json");
  await writeFile(definition, JSON.stringify(DEFINITION));
  await runToEnd("services/user-state/src/operator-main.ts", env, ["namespaces", "publish", definition]);

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
  const sql = opening.adopt(new Pool({ connectionString: postgres.adminUrl, max: 2 }), (pool) => pool.end());
  sql.on("error", () => undefined);
  const signer = createIdentitySigner(privateJwk);
  const opened = opening.move();

  return {
    processes: [first.process, ...others.map(({ process }) => process)],
    wire,
    killPostgres: (signal) => killPostgres(postgres, signal),
    async connect({ userId, faultOf, lateMs, isSignedOut = () => false, overheard }) {
      const proxy = await startHttpFaultProxy({
        targets: [first.url, ...others.map(({ url }) => url)],
        faultOf,
        ...(lateMs && { lateMs }),
        ...(overheard && { overheard }),
      });
      const ask = async (deviceId: string, query: string, variables: object): Promise<unknown> => {
        const statement = await signer.sign({ kind: "viewer", viewer: viewerOn(userId, deviceId) });
        const response = await fetch(`${proxy.url}/graphql`, {
          method: "POST",
          headers: { "content-type": "application/json", ...(!isSignedOut() && { [IDENTITY_HEADER]: statement }) },
          body: JSON.stringify({ query, variables }),
          signal: AbortSignal.timeout(PATIENCE_MS),
        });
        return dataOf(await response.json());
      };
      return {
        server: {
          push: async (deviceId, input) => Pushed.parse(await ask(deviceId, PUSH, { input })).pushState,
          pull: async (deviceId, asked) => Pulled.parse(await ask(deviceId, PULL, asked)).pullState,
        },
        counts: proxy.counts,
        [Symbol.asyncDispose]: () => proxy[Symbol.asyncDispose](),
      };
    },
    async stood(userId) {
      const { rows: heads } = await sql.query<{ max_ms: number }>(HEAD, [userId]);
      const { rows } = await sql.query(UNITS, [userId]);
      const units = rows.map((row) => {
        const { id, kind, deleted, state, updates } = UnitRow.parse(row);
        const whole =
          updates === null
            ? state
            : { ...state, updates: [...z.array(z.unknown()).parse(state["updates"]), ...updates] };
        return [id, { kind, deleted, state: STATES[kind].parse(whole) }] as const;
      });
      return { head: { maxMs: heads[0]?.max_ms ?? 0 }, units: new Map(units) };
    },
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

async function killPostgres(postgres: EmbeddedPostgres, signal: "SIGKILL" | "SIGQUIT"): Promise<void> {
  const { pid } = postgres;
  process.kill(pid, signal);
  await eventually(
    "another postmaster",
    async () => postgres.pid,
    (now) => now !== pid,
  );
}

function viewerOn(userId: string, deviceId: string): Viewer {
  return { userId, deviceId, sessionId: deviceId, applicationId: "continuo", acr: "1", amr: ["pwd"], authTime: 1 };
}

const STAMP = "stamp { ms counter clientId }";
const PUSH = `mutation ($input: PushStateInput!) { pushState(input: $input) {
  outcomes { seq status rev ${STAMP} reason message current losers { name value deleted ${STAMP} }
    first { status reason message } }
  lastSeq headRev serverNow stop retryAfterMs quotaRemaining { entries bytes } } }`;
const PULL = `query ($since: String, $namespaces: [String!], $clientId: ID, $first: Int!, $waitMs: Int!) {
  pullState(since: $since, namespaces: $namespaces, clientId: $clientId, first: $first, waitMs: $waitMs) {
    from to hasMore headRev epoch lastSeq reset serverNow
    entries { namespace key field kind state value deleted rev schemaVersion } } }`;

const Pushed = z.object({ pushState: PushResponse });
const Pulled = z.object({ pullState: StateBatch });

const Answer = z.object({
  data: z.unknown().optional(),
  errors: z
    .array(
      z.object({
        message: z.string(),
        extensions: z.object({
          code: z.enum(ERROR_CODES),
          reason: z.string(),
          details: z.record(z.string(), z.unknown()).optional(),
        }),
      }),
    )
    .optional(),
});

/** Whether a failure is the network's or an outage, and not somebody's mistake. */
export function isWeather(cause: unknown): boolean {
  if (isAppError(cause)) return cause.code === "UNAVAILABLE" || cause.code === "UNAUTHENTICATED";
  return cause instanceof Error && (cause.message === "fetch failed" || cause.name === "TimeoutError");
}

/** Throws AppError for an answer with errors. */
function dataOf(answer: unknown): unknown {
  const { data, errors } = Answer.parse(answer);
  if (errors?.[0] === undefined) return data;
  const { message, extensions } = errors[0];
  const { code, reason, details } = extensions;
  throw new AppError(code, reason, message, details && { details });
}

const HEAD = "SELECT max_ms::float8 FROM user_state.user_heads WHERE user_id = $1";
const UNITS = `
  SELECT json_build_array(entry.namespace, entry.key, entry.field)::text AS id, entry.kind, entry.deleted, entry.state,
         (SELECT array_agg(stored.update ORDER BY stored.rev) FROM user_state.text_updates AS stored
          WHERE (stored.user_id, stored.namespace, stored.key, stored.field)
              = (entry.user_id, entry.namespace, entry.key, entry.field)) AS updates
  FROM user_state.state_entries AS entry WHERE entry.user_id = $1`;
const UnitRow = z.object({
  id: z.string().transform((names) => JSON.stringify(JSON.parse(names))),
  kind: z.enum(KIND_NAMES),
  deleted: z.boolean(),
  state: z.record(z.string(), z.unknown()),
  updates: z.array(z.string()).nullable(),
});
