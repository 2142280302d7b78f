/** Starts every room on a migrated database: seeds, subgraphs and workers at once, then the gateway in front. */
import type { RoleOwner } from "@continuo/database";
import { startApp as startGateway } from "@continuo/gateway/app";
import { Env as GatewayEnv, urlVariable } from "@continuo/gateway/env";
import { startApp as startIdentity } from "@continuo/identity/app";
import { Env as IdentityEnv } from "@continuo/identity/env";
import { seed as seedIdentity } from "@continuo/identity/seed";
import { createLogger, loadEnv } from "@continuo/process";
import { startApp as startSession } from "@continuo/session/app";
import { Env as SessionEnv, WorkerEnv as SessionWorkerEnv } from "@continuo/session/env";
import { seed as seedSession } from "@continuo/session/seed";
import { startWorkers as startSessionWorkers } from "@continuo/session/worker";
import { startPokes } from "@continuo/signals";
import { startApp as startUserState } from "@continuo/user-state/app";
import { Env as UserStateEnv } from "@continuo/user-state/env";
import { seed as seedUserState } from "@continuo/user-state/seed";
import { startWorkers as startUserStateWorkers } from "@continuo/user-state/worker";
import type { Open } from "./app.ts";
import { FURTHER_SUBGRAPHS } from "./further-subgraphs.ts";
import type { Environment } from "./rooms.ts";
import type { Terminal } from "./terminal.ts";

/** Opens each part with `open`. Resolves to the gateway's base URL; throws SetupError E_PORT_BUSY. */
export async function startRooms(options: {
  readonly rooms: Readonly<Record<RoleOwner | "subgraph", Environment>>;
  readonly host: string;
  readonly port: number;
  readonly healthPort: number | undefined;
  readonly open: Open;
  readonly terminal: Terminal;
}): Promise<{ readonly url: string }> {
  const { rooms, host, port, healthPort, open, terminal } = options;
  const anyPort = { PORT: "0" };
  const identityEnv = loadEnv(IdentityEnv, { ...rooms.identity, ...anyPort });
  // OAuth clients require the issuer to be the URL they found it at (RFC 8414 section 3.3); a random port is no lasting
  // address.
  const issuer = port === 0 ? {} : { TOKEN_ISSUER: `http://${host}:${port}` };
  const sessionEnv = loadEnv(SessionEnv, { ...rooms.session, ...issuer, ...anyPort });
  const userStateEnv = loadEnv(UserStateEnv, { ...rooms.userState, ...anyPort });
  const { DATABASE_URL: databaseUrl, REDIS_URL: redisUrl, LOG_LEVEL: level } = sessionEnv;
  const logger = createLogger({ name: "continuo", level });
  const pokes = await open("pokes", () => startPokes({ databaseUrl, redisUrl, logger }));
  const parts = [
    open("identity", () => startIdentity(identityEnv, { pokes })),
    open("session", () => startSession(sessionEnv, { pokes })),
    open("user-state", () => startUserState(userStateEnv, { pokes })),
    open("session workers", () =>
      startSessionWorkers(loadEnv(SessionWorkerEnv, { ...rooms.session, ...issuer }), { pokes }),
    ),
    open("user-state workers", () => startUserStateWorkers(userStateEnv)),
    terminal.phase("seed", () =>
      Promise.all([seedIdentity(identityEnv), seedSession(sessionEnv), seedUserState(userStateEnv)]),
    ),
  ] as const;
  const further = Object.entries(FURTHER_SUBGRAPHS).map(
    async ([name, { start }]) => [name, await open(name, () => start({ ...rooms.subgraph, ...anyPort }))] as const,
  );
  // If one fails, wait for the others, so that each is closed and none starts afterwards.
  await Promise.allSettled([...parts, ...further]);
  const [identity, session, userState] = await Promise.all(parts);
  const subgraphs = { identity, session, "user-state": userState, ...Object.fromEntries(await Promise.all(further)) };
  const local = Object.fromEntries(Object.entries(subgraphs).map(([name, subgraph]) => [name, subgraph.local]));
  const gatewayEnv = loadEnv(GatewayEnv, {
    ...rooms.gateway,
    ...issuer,
    HOST: host,
    PORT: String(port),
    HEALTH_PORT: healthPort?.toString(),
    ...Object.fromEntries(Object.entries(subgraphs).map(([name, { url }]) => [urlVariable(name), new URL(url).origin])),
  });
  return open("gateway", () => startGateway(gatewayEnv, { local, pokes }));
}
