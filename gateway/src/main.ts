/** The gateway process. */
import { createLogger, runProcess } from "@continuo/process";
import { startApp } from "./app.ts";
import { loadEnv } from "./env.ts";

await runProcess(async () => startApp(loadEnv()), { logger: createLogger({ name: "gateway", level: "info" }) });
