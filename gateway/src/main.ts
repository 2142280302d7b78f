import { createLogger, runProcess } from "@continuo/process";
import { startApp } from "./app.ts";
import { loadEnv } from "./env.ts";

const env = loadEnv();
const logger = createLogger({ name: "gateway", level: env.LOG_LEVEL });
await runProcess(() => startApp(env, { logger }), { logger });
