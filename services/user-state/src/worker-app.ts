/** The composition root of the user-state worker, which runs the background jobs. */
import { startDatabase } from "@continuo/database";
import { createHealth, createLogger, startHealthPort } from "@continuo/process";
import { eraseUserState } from "@continuo/signals";
import { startJobs } from "@continuo/signals/jobs";
import { v7 as uuidv7 } from "uuid";
import { PrismaClient } from "./database/generated/client.ts";
import type { WorkerEnv } from "./env.ts";
import { createEraseUserState } from "./erasure/erase-user-state.jobs.ts";
import { createErase } from "./erasure/erasure.ts";
import { createErasureStore } from "./erasure/erasure.store.ts";
import { startRetention } from "./retention/retention.jobs.ts";
import { createRetention } from "./retention/retention.ts";
import { createRetentionStore } from "./retention/retention.store.ts";

const NAME = "user-state-worker";

/** Runs until disposed; any number of workers may run. Throws SetupError as `startDatabase` does. */
export async function startWorkers(env: WorkerEnv): Promise<AsyncDisposable> {
  const logger = createLogger({ name: NAME, level: env.LOG_LEVEL });
  await using stack = new AsyncDisposableStack();
  const { pool } = stack.use(
    await startDatabase({
      url: env.DATABASE_URL,
      schema: "user_state",
      PrismaClient,
      applicationName: `continuo-${NAME}`,
      poolSize: env.DATABASE_POOL_SIZE,
      log: logger,
    }),
  );
  const jobs = stack.use(await startJobs({ databaseUrl: env.DATABASE_URL, redisUrl: env.REDIS_URL, logger }));
  stack.use(await startRetention(jobs, createRetention(createRetentionStore(pool))));
  // Nobody is notified: whoever could be has been signed out.
  const nobody = { state: () => undefined, activities: () => undefined };
  const erase = createErase({ store: createErasureStore(pool), newEpoch: uuidv7, announce: nobody });
  await jobs.work(eraseUserState, createEraseUserState(erase));
  if (env.HEALTH_PORT !== undefined) {
    const health = createHealth();
    health.add("database", async () => pool.query("SELECT 1"));
    stack.use(await startHealthPort({ host: env.HOST, port: env.HEALTH_PORT, health }));
  }
  logger.info("user-state worker is working");
  return stack.move();
}
