/**
 * Structured logs on stdout, one JSON object per line. Tokens and secrets never appear: names that may hold one are redacted.
 */
import {
  type Bindings,
  type ChildLoggerOptions,
  destination,
  type DestinationStream,
  type Logger,
  pino,
  stdSerializers,
  stdTimeFunctions,
} from "pino";
import { redact } from "./redact.ts";

export type { Logger } from "pino";

export type LogLevel = "silent" | "fatal" | "error" | "warn" | "info" | "debug" | "trace";

/**
 * Writes each line synchronously: a buffer flushed at exit would be retried forever once nobody reads the other end,
 * and the line that a crash loses is the one that was needed.
 */
function openTarget(dest: number | string): DestinationStream {
  const opened = destination({ dest, mkdir: true, sync: true, maxLength: UNWRITTEN_BYTES });
  // A full disk fails no request: what could not be written goes out with the next line.
  return opened.on("error", () => undefined);
}

/** Unwritten output is kept up to this size; later lines are lost. */
const UNWRITTEN_BYTES = 1_048_576;

let target: DestinationStream | undefined;

/**
 * Loggers created from now on append to `file` (a path or descriptor) instead of stdout, where the process talks to a person.
 */
export function sendLogsTo(file: string | number): void {
  target = openTarget(file);
}

/** The logger of one process; `name` is the process's name (`session`, `session-worker`, `gateway` …). */
export function createLogger(options: { name: string; level: LogLevel }): Logger {
  const settings = {
    name: options.name,
    level: options.level,
    base: { name: options.name, pid: process.pid },
    timestamp: stdTimeFunctions.isoTime,
    formatters: { log: (line: Record<string, unknown>) => redact(line) },
    serializers: { err: (error: Error) => redact(stdSerializers.err(error)) },
  };
  target ??= openTarget(process.stdout.fd);
  const logger = pino(settings, target);
  // oxlint-disable-next-line typescript/unbound-method -- bound when it is called
  const { child } = logger;
  // A child's bindings bypass the formatter, so they are redacted here.
  return Object.assign(logger, {
    child(this: Logger, bindings: Bindings, options?: ChildLoggerOptions) {
      return Reflect.apply(child, this, [redact(bindings), options]);
    },
  });
}
