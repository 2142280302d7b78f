import { createLogger, runProcess } from "@continuo/process";
import { loadWorkerEnv } from "./env.ts";
import { startWorkers } from "./worker-app.ts";

const env = loadWorkerEnv();
await runProcess(() => startWorkers(env), {
  logger: createLogger({ name: "user-state-worker", level: env.LOG_LEVEL }),
});
