/** The environment of the migrate step. */
import { envTypes, loadEnv } from "@continuo/process";
import { z } from "zod";

/** DATABASE_URL is the administrator's; each password is for the role of one process. */
export const MigrateEnv = z.object({
  DATABASE_URL: envTypes.postgresUrl.describe("Postgres, as an administrator who may create roles and schemas."),
  IDENTITY_DATABASE_PASSWORD: z.string().min(1).describe("Password to give the role continuo_identity."),
  SESSION_DATABASE_PASSWORD: z.string().min(1).describe("Password to give the role continuo_session."),
  USER_STATE_DATABASE_PASSWORD: z.string().min(1).describe("Password to give the role continuo_user_state."),
  GATEWAY_DATABASE_PASSWORD: z.string().min(1).describe("Password to give the role continuo_gateway."),
  LOG_LEVEL: envTypes.logLevel,
});
export type MigrateEnv = z.infer<typeof MigrateEnv>;

/** Parses this process's environment. Throws EnvError. */
export function loadMigrateEnv(): MigrateEnv {
  return loadEnv(MigrateEnv);
}
