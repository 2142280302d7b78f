import { envTypes, loadEnv as parseEnv } from "@continuo/process";
import { z } from "zod";

/** The environment of `npm start`; it generates everything else itself. */
export const Env = z.object({
  HOST: z.string().default("127.0.0.1").describe("Address that the gateway listens on."),
  PORT: envTypes.port.default(4000).describe("Port of the gateway; 0 takes a free one."),
  HEALTH_PORT: envTypes.healthPort,
  LOG_LEVEL: envTypes.logLevel,
  DATA_DIRECTORY: z.string().default(".data").describe("Where data, keys and logs are kept."),
  DATABASE_URL: envTypes.postgresUrl
    .optional()
    .describe("Your own Postgres, as administrator, in place of the embedded one."),
  REDIS_URL: envTypes.redisUrl,
});
export type Env = z.output<typeof Env>;

/** Reads this process's environment. Throws EnvError with every problem at once. */
export const loadEnv = (source?: Readonly<Record<string, string | undefined>>): Env => parseEnv(Env, source);
