/** A user-state worker's process. */
import { createLogger, runProcess } from "@continuo/process";
import { loadWorkerEnv } from "./env.ts";
import { startWorkers } from "./worker-app.ts";

await runProcess(async () => startWorkers(loadWorkerEnv()), {
  logger: createLogger({ name: "user-state-worker", level: "info" }),
});
