export { EnvError, loadEnv } from "./env.ts";
export * as envTypes from "./env-types.ts";
export { createHealth, type Health } from "./health.ts";
export { startHealthPort } from "./health-port.ts";
export { runProcess } from "./lifecycle.ts";
export { createLogger, sendLogsTo, type LogLevel, type Logger } from "./log.ts";
export { createCounter, createGauge, metrics, type Labels, type LiveGauge, type Readings } from "./metrics.ts";
export { measureOperations, type OperationMetrics } from "./operation-metrics.ts";
