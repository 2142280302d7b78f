import { createLogger, runProcess } from "@continuo/process";
import { startApp } from "./app.ts";
import { loadEnv } from "./env.ts";

const env = loadEnv();
await runProcess(() => startApp(env), { logger: createLogger({ name: "user-state", level: env.LOG_LEVEL }) });
