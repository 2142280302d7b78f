/** `npm run migrate`: brings the database of DATABASE_URL up to date, and exits. */
import { createLogger, runCommand } from "@continuo/process";
import { loadMigrateEnv } from "./env.ts";
import { migrate } from "./migrations/migrate.ts";

await runCommand(async () => {
  const env = loadMigrateEnv();
  await migrate({
    adminUrl: env.DATABASE_URL,
    rolePasswords: {
      identity: env.IDENTITY_DATABASE_PASSWORD,
      session: env.SESSION_DATABASE_PASSWORD,
      userState: env.USER_STATE_DATABASE_PASSWORD,
      gateway: env.GATEWAY_DATABASE_PASSWORD,
    },
    log: createLogger({ name: "migrate", level: env.LOG_LEVEL }),
  });
});
