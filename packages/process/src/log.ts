/** Structured logs on stdout, one JSON object a line. Tokens and secrets never appear: names that may hold one are redacted. */
import { pino, stdTimeFunctions, type Logger } from "pino";

export type { Logger } from "pino";

export type LogLevel = "silent" | "fatal" | "error" | "warn" | "info" | "debug" | "trace";

const SECRETS = ["authorization", "cookie", "password", "accessToken", "refreshToken", "grant", "token", "dpop"];

/** The logger of one process; `name` is the process's own (`session`, `session-worker`, `gateway` …). */
export function createLogger(options: { name: string; level: LogLevel }): Logger {
  return pino({
    name: options.name,
    level: options.level,
    base: { name: options.name, pid: process.pid },
    timestamp: stdTimeFunctions.isoTime,
    redact: { paths: SECRETS.flatMap((name) => [name, `*.${name}`, `*.*.${name}`]), censor: "[redacted]" },
  });
}
