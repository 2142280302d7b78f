import { envTypes, loadEnv as parseEnv } from "@continuo/process";
import { z } from "zod";

/** The jobs that a worker can be given. */
export const JobName = z.enum([
  "apply-policies",
  "apply-user-events",
  "deliver-notices",
  "expire-sessions",
  "fan-out-revocation",
  "retain",
  "rotate-keys",
]);
export type JobName = z.infer<typeof JobName>;

const jobNames = z
  .string()
  .default(JobName.options.join(","))
  .transform((text) => text.split(",").map((name) => name.trim()))
  .pipe(z.array(JobName).min(1));

/** The current key first; the others still open what was sealed with them. */
const masterKeys = z
  .string()
  .transform((text) => text.split(",").map((key) => key.trim()))
  .pipe(z.tuple([envTypes.secret256], envTypes.secret256))
  .describe(
    "32 random bytes in base64url: seals secrets at rest, root of refresh tokens. While it is being replaced: both keys, joined by a comma.",
  );

const keyRotationDays = z.coerce.number().int().min(0).max(3_650).default(90);

const shared = {
  LOG_LEVEL: envTypes.logLevel,
  DATABASE_URL: envTypes.postgresUrl.describe("Postgres, with the role continuo_session."),
  DATABASE_POOL_SIZE: envTypes.databasePoolSize,
  REDIS_URL: envTypes.redisUrl,
};

/** The environment of the session process. */
export const Env = z.object({
  HOST: envTypes.host,
  PORT: envTypes.port.default(4102).describe("Port to listen on."),
  ...shared,
  GATEWAY_PUBLIC_KEY: envTypes.publicJwk.describe("Verifies the internal identity that the gateway signs."),
  GRANT_PUBLIC_KEY: envTypes.publicJwk.describe("Verifies the sign-in grants of the identity subgraph."),
  MASTER_KEY: masterKeys,
  TOKEN_ISSUER: envTypes.issuer.describe("`iss` of access tokens: the public address of this installation."),
  TOKEN_AUDIENCE: z.string().min(1).default("continuo").describe("`aud` of access tokens."),
});
export type Env = z.output<typeof Env>;

/** The environment of a session worker. */
export const WorkerEnv = z
  .object({
    ...shared,
    HOST: envTypes.host,
    HEALTH_PORT: envTypes.healthPort,
    MASTER_KEY: masterKeys,
    KEY_ROTATION_DAYS: keyRotationDays.describe(
      "How long a signing key signs before the next one follows; 0 for ever.",
    ),
    JOBS: jobNames.describe("Which jobs to work on, separated by commas."),
    TOKEN_ISSUER: envTypes.issuer
      .optional()
      .describe("As session's: `iss` of logout tokens. Needed for `deliver-notices`."),
    PRIVATE_RECIPIENTS: z
      .enum(["refuse", "allow"])
      .default("refuse")
      .describe("Whether webhook and logout URLs may be of private addresses and without TLS."),
  })
  .refine(({ JOBS, TOKEN_ISSUER }) => TOKEN_ISSUER !== undefined || !JOBS.includes("deliver-notices"), {
    path: ["TOKEN_ISSUER"],
    message: "needed to deliver notices",
  });
export type WorkerEnv = z.output<typeof WorkerEnv>;

/** The current key first. */
export type MasterKeys = z.output<typeof masterKeys>;

/** The environment of an operator's command. */
export const OperatorEnv = z.object({
  ...shared,
  LOG_LEVEL: envTypes.commandLogLevel,
  MASTER_KEY: masterKeys.optional(),
});
export type OperatorEnv = z.output<typeof OperatorEnv>;

type Source = Readonly<Record<string, string | undefined>>;

/** Reads this process's environment. Throws EnvError with every problem at once. */
export const loadEnv = (source?: Source): Env => parseEnv(Env, source);

/** As `loadEnv`, for a worker. */
export const loadWorkerEnv = (source?: Source): WorkerEnv => parseEnv(WorkerEnv, source);
