/** Structured logs on stdout, one JSON object a line. Tokens and secrets never appear: names that may hold one are redacted. */
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
 * Each line is written at once: a buffer that is flushed at exit would be tried for ever when nobody reads it any more,
 * and a line that a crash loses is the one that was needed.
 */
function openTarget(dest: number | string): DestinationStream {
  const opened = destination({ dest, mkdir: true, sync: true, maxLength: UNWRITTEN_BYTES });
  // A full disk fails no request: what could not be written goes with the next line.
  return opened.on("error", () => undefined);
}

/** Lines that nothing takes are kept up to here; those after them are lost. */
const UNWRITTEN_BYTES = 1_048_576;

let target: DestinationStream | undefined;

/** From here on, new loggers of this process append to `file` (a path or descriptor) and not to stdout: for a process that talks to a person there. */
export function sendLogsTo(file: string | number): void {
  target = openTarget(file);
}

/** The logger of one process; `name` is the process's own (`session`, `session-worker`, `gateway` …). */
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
  // What children carry does not pass the formatter.
  return Object.assign(logger, {
    child(this: Logger, bindings: Bindings, options?: ChildLoggerOptions) {
      return Reflect.apply(child, this, [redact(bindings), options]);
    },
  });
}
