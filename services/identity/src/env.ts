import { envTypes, loadEnv as parseEnv } from "@continuo/process";
import { z } from "zod";

/** The environment of the identity process. */
export const Env = z.object({
  HOST: envTypes.host,
  PORT: envTypes.port.default(4101).describe("Port to listen on."),
  LOG_LEVEL: envTypes.logLevel,
  DATABASE_URL: envTypes.postgresUrl.describe("Postgres, with the role continuo_identity."),
  DATABASE_POOL_SIZE: envTypes.databasePoolSize,
  GATEWAY_PUBLIC_KEY: envTypes.jwk.describe("Verifies the internal identity that the gateway signs."),
  GRANT_PRIVATE_KEY: envTypes.jwk.describe("Signs sign-in grants; the session subgraph holds its public half."),
});
export type Env = z.output<typeof Env>;

/** Reads this process's environment. Throws EnvError with every problem at once. */
export const loadEnv = (source?: Readonly<Record<string, string | undefined>>): Env => parseEnv(Env, source);
