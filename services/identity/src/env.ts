import { envTypes, loadEnv as parseEnv } from "@continuo/process";
import { z } from "zod";

const shared = {
  LOG_LEVEL: envTypes.logLevel,
  DATABASE_URL: envTypes.postgresUrl.describe("Postgres, with the role continuo_identity."),
  DATABASE_POOL_SIZE: envTypes.databasePoolSize,
  REDIS_URL: envTypes.redisUrl,
};

/** The environment of the identity process. */
export const Env = z.object({
  HOST: envTypes.host,
  PORT: envTypes.port.default(4101).describe("Port to listen on."),
  ...shared,
  GATEWAY_PUBLIC_KEY: envTypes.publicJwk.describe("Verifies the internal identity that the gateway signs."),
  GRANT_PRIVATE_KEY: envTypes.privateJwk.describe("Signs sign-in grants; the session subgraph holds its public half."),
});
export type Env = z.output<typeof Env>;

/** The environment of an operator's command. */
export const OperatorEnv = z.object({ ...shared, LOG_LEVEL: envTypes.commandLogLevel });
export type OperatorEnv = z.output<typeof OperatorEnv>;

type Source = Readonly<Record<string, string | undefined>>;

/** Reads this process's environment. Throws EnvError with every problem at once. */
export const loadEnv = (source?: Source): Env => parseEnv(Env, source);
