/**
 * A whole scaled system as separate processes on a migrated database: replicas of each subgraph and the gateway, and workers.
 * The n-th gateway calls the n-th replica of each subgraph; nothing is sticky.
 */
import { generateKey } from "@continuo/access";
import type { RoleOwner } from "@continuo/database";
import { FURTHER_SUBGRAPHS } from "@continuo/embedded/further-subgraphs";
import { roomEnvironments, type Environment } from "@continuo/embedded/rooms";
import { subgraphUrlVariables } from "@continuo/gateway/env";
import { freePort } from "@continuo/testkit";
import { randomBytes } from "node:crypto";
import { readyAt, runToEnd, startProcess, type RunningProcess } from "./process.ts";

export interface SystemOptions {
  /** URLs of a migrated database, by owner. */
  readonly databaseUrl: Readonly<Record<RoleOwner, string>>;
  /** Unset: pokes and jobs run over Postgres. */
  readonly redisUrl?: string | undefined;
  /** Replicas of each subgraph and of the gateway. Default 1. */
  readonly replicas?: number;
  /** Additional environment for the gateways, for example `MODE`. */
  readonly gatewayEnv?: Environment;
  /** Default `info`: the tests read logs. */
  readonly logLevel?: string;
}

/** A server and its base URL. */
export interface ServerProcess extends RunningProcess {
  /** For example `http://127.0.0.1:40123`. */
  readonly url: string;
}

export interface System extends AsyncDisposable {
  readonly gateways: readonly [ServerProcess, ...ServerProcess[]];
  readonly subgraphs: Readonly<Record<"identity" | "session" | "userState", readonly ServerProcess[]>>;
  readonly workers: Readonly<Record<"session" | "userState", RunningProcess>>;
  /** The base URLs of the gateways. */
  readonly urls: readonly [string, ...string[]];
  /** The environment of each room, for starting more processes of this system. */
  readonly environments: ReturnType<typeof roomEnvironments>;
  readonly keys: { readonly gateway: KeyPair; readonly grant: KeyPair };
}

type KeyPair = Awaited<ReturnType<typeof generateKey>>;

const SUBGRAPHS = { identity: "identity", session: "session", userState: "user-state" } as const;

/** Seeds, starts everything and waits until all of it is ready. */
export async function startSystem(options: SystemOptions): Promise<System> {
  const { databaseUrl, redisUrl, replicas = 1, gatewayEnv = {}, logLevel = "info" } = options;
  await using opening = new AsyncDisposableStack();
  const [gatewayKey, grantKey] = await Promise.all([generateKey("Ed25519"), generateKey("Ed25519")]);
  const secret = (): string => randomBytes(32).toString("base64url");
  const secrets = { gatewayKey, grantKey, masterKey: secret(), cursorKey: secret() };
  const environments = roomEnvironments({ secrets, databaseUrl, redisUrl, mode: "production", logLevel });

  await runToEnd("e2e/seed-main.ts", {
    SESSION_DATABASE_URL: databaseUrl.session,
    USER_STATE_DATABASE_URL: databaseUrl.userState,
  });

  const times = <Result>(make: (index: number) => Promise<Result>): Promise<Result[]> =>
    Promise.all(Array.from({ length: replicas }, (_, index) => make(index)));

  const startSubgraphs = (owner: keyof typeof SUBGRAPHS): Promise<ServerProcess[]> =>
    times(async (index) => opening.use(await startSubgraph(owner, environments[owner], index)));
  const [identity, session, userState] = await Promise.all([
    startSubgraphs("identity"),
    startSubgraphs("session"),
    startSubgraphs("userState"),
  ]);
  const startWorker = async (owner: "session" | "userState"): Promise<RunningProcess> => {
    const name = `${SUBGRAPHS[owner]}-worker`;
    const file = `services/${SUBGRAPHS[owner]}/src/worker.ts`;
    // A worker has no port to probe: only its log says that it is ready.
    const env = { ...environments[owner], LOG_LEVEL: "info" };
    const worker = opening.use(await startProcess({ name, file, env }));
    await worker.says(/at work|is working/);
    return worker;
  };
  const [sessionWorker, userStateWorker] = await Promise.all([startWorker("session"), startWorker("userState")]);
  const further = Object.fromEntries(
    await Promise.all(
      Object.keys(FURTHER_SUBGRAPHS).map(async (name) => {
        const file = `services/${name}/src/main.ts`;
        const start = (index: number) => startServer(`${name}-${index}`, file, environments.subgraph);
        return [name, await times(async (index) => opening.use(await start(index)))] as const;
      }),
    ),
  );
  const servers: Readonly<Record<string, readonly ServerProcess[]>> = {
    identity,
    session,
    "user-state": userState,
    ...further,
  };
  const gateways = await times(async (index) =>
    opening.use(
      await startServer(`gateway-${index}`, "gateway/src/main.ts", {
        ...environments.gateway,
        ...subgraphUrlVariables((name) => at(servers[name] ?? [], index).url),
        ...gatewayEnv,
      }),
    ),
  );

  const opened = opening.move();
  const [first, ...others] = gateways;
  if (!first) throw new Error("a system has at least one gateway");
  return {
    gateways: [first, ...others],
    urls: [first.url, ...others.map(({ url }) => url)],
    subgraphs: { identity, session, userState },
    workers: { session: sessionWorker, userState: userStateWorker },
    environments,
    keys: { gateway: gatewayKey, grant: grantKey },
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

/** Starts one subgraph's server, as the benchmarks do too; `index` distinguishes its replicas in logs. */
export function startSubgraph(
  owner: keyof typeof SUBGRAPHS,
  environment: Environment,
  index = 0,
): Promise<ServerProcess> {
  const name = SUBGRAPHS[owner];
  return startServer(`${name}-${index}`, `services/${name}/src/main.ts`, environment);
}

/** Starts a server on a free port, which it keeps across restarts. */
async function startServer(name: string, file: string, env: Environment): Promise<ServerProcess> {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const environment = { PUBLIC_URL: url, ...env, PORT: String(port) };
  const started = await startProcess({ name, file, env: environment, isReady: readyAt(url) });
  return Object.assign(started, { url });
}

function at<Item>(items: readonly Item[], index: number): Item {
  const item = items[index];
  if (item === undefined) throw new Error(`there is no number ${index}`);
  return item;
}
