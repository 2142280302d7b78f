/** The user-state process. */
import { createLogger, runProcess } from "@continuo/process";
import { startApp } from "./app.ts";
import { loadEnv } from "./env.ts";

await runProcess(async () => startApp(loadEnv()), { logger: createLogger({ name: "user-state", level: "info" }) });
