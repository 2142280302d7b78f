/** The environment of the user-state processes: the subgraph's, and its worker's part of it. */
import { envTypes, loadEnv as parseEnv } from "@continuo/process";
import { z } from "zod";

/** What the worker needs. */
export const WorkerEnv = z.object({
  LOG_LEVEL: envTypes.logLevel,
  MODE: envTypes.mode,
  DATABASE_URL: envTypes.postgresUrl.describe("Postgres, as the role continuo_user_state."),
  DATABASE_POOL_SIZE: z.coerce.number().int().min(1).max(100).default(10).describe("Connections at most."),
  REDIS_URL: envTypes.redisUrl,
});
export type WorkerEnv = z.output<typeof WorkerEnv>;

/** What the subgraph needs. */
export const Env = WorkerEnv.extend({
  HOST: z.string().default("127.0.0.1").describe("Address to listen on."),
  PORT: envTypes.port.default(4103).describe("Port to listen on."),
  GATEWAY_PUBLIC_KEY: envTypes.jwk.describe("Verifies the internal identity: the public half of the gateway's key."),
  CURSOR_KEY: envTypes.secret256.describe("Signs the cursors of pullState; with another key, replicas start over."),
});
export type Env = z.output<typeof Env>;

type Source = Readonly<Record<string, string | undefined>>;

/** Reads the subgraph's environment. Throws EnvError with every problem at once. */
export const loadEnv = (source?: Source): Env => parseEnv(Env, source);

/** Reads the worker's environment. Throws EnvError with every problem at once. */
export const loadWorkerEnv = (source?: Source): WorkerEnv => parseEnv(WorkerEnv, source);
