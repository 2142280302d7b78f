/** The environment of the user-state processes. */
import { envTypes, loadEnv as parseEnv } from "@continuo/process";
import { z } from "zod";
import { DEFAULT_QUOTA } from "./entry/quota.ts";

const quota = z.coerce.number().int().min(0).max(Number.MAX_SAFE_INTEGER);

const shared = {
  HOST: envTypes.host,
  LOG_LEVEL: envTypes.logLevel,
  DATABASE_URL: envTypes.postgresUrl.describe("Postgres, with the role continuo_user_state."),
  DATABASE_POOL_SIZE: envTypes.databasePoolSize,
  REDIS_URL: envTypes.redisUrl,
};

const quotas = {
  QUOTA_ENTRIES: quota
    .default(DEFAULT_QUOTA.entries)
    .describe("How many entries a person may keep, in all namespaces."),
  QUOTA_BYTES: quota
    .default(DEFAULT_QUOTA.bytes)
    .describe("How many bytes those may take. A quota refuses nothing but growth."),
};

/** What the subgraph needs. */
export const Env = z.object({
  ...shared,
  PORT: envTypes.port.default(4103).describe("Port to listen on."),
  GATEWAY_PUBLIC_KEY: envTypes.publicJwk.describe("Verifies the internal identity that the gateway signs."),
  ...quotas,
  CURSOR_KEY: envTypes.secret256.describe(
    "Signs the cursors of pullState and seals what is relayed; with another key, replicas start over.",
  ),
});
export type Env = z.output<typeof Env>;

/** What the worker needs. */
export const WorkerEnv = z.object({ ...shared, HEALTH_PORT: envTypes.healthPort });
export type WorkerEnv = z.output<typeof WorkerEnv>;

/** What an operator's commands need. */
export const OperatorEnv = z.object({
  DATABASE_URL: shared.DATABASE_URL,
  DATABASE_POOL_SIZE: shared.DATABASE_POOL_SIZE,
  LOG_LEVEL: envTypes.commandLogLevel,
  REDIS_URL: shared.REDIS_URL,
  ...quotas,
});
export type OperatorEnv = z.output<typeof OperatorEnv>;

type Source = Readonly<Record<string, string | undefined>>;

/** Reads the subgraph's environment. Throws EnvError with every problem at once. */
export const loadEnv = (source?: Source): Env => parseEnv(Env, source);

/** Reads the worker's environment. Throws EnvError with every problem at once. */
export const loadWorkerEnv = (source?: Source): WorkerEnv => parseEnv(WorkerEnv, source);
