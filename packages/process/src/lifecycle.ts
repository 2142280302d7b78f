/**
 * The life of a process: start, wait for a signal, close everything in reverse order of opening, exit.
 * A second signal, a stop that takes too long or an unexpected error exits at once with 1.
 */
import type { Logger } from "./log.ts";

const SIGNALS = ["SIGTERM", "SIGINT", "SIGHUP"] as const;

/** Runs `start`, and disposes its result on SIGTERM, SIGINT or SIGHUP. A failed start is logged, with exit code 1. */
export async function runProcess(
  start: () => Promise<AsyncDisposable>,
  options: { logger: Logger; stopTimeoutMs?: number },
): Promise<void> {
  const { logger, stopTimeoutMs = 20_000 } = options;
  const stopping = Promise.withResolvers<void>();
  let isStopping = false;

  const onSignal = (signal: string): void => {
    if (isStopping) process.exit(1);
    isStopping = true;
    logger.info({ signal }, "stopping");
    // Counts from the signal, so that a hanging start cannot keep the process alive either.
    setTimeout(() => {
      logger.error({ stopTimeoutMs }, "stopping took too long: exiting now");
      process.exit(1);
    }, stopTimeoutMs).unref();
    stopping.resolve();
  };
  for (const signal of SIGNALS) process.on(signal, onSignal);
  for (const event of ["uncaughtException", "unhandledRejection"] as const) {
    process.on(event, (cause: unknown) => {
      logger.fatal({ err: cause }, "an error that nobody expected: exiting now");
      process.exit(1);
    });
  }

  try {
    const started = await start();
    await stopping.promise;
    await started[Symbol.asyncDispose]();
    logger.info("stopped");
    process.exit(0);
  } catch (cause) {
    if (explainsItself(cause)) logger.fatal({ code: cause.code, fix: cause.fix }, `${cause.code}  ${cause.message}`);
    else logger.fatal({ err: cause }, "could not start or stop");
    process.exitCode = 1;
    setTimeout(() => process.exit(1), 100).unref();
  }
}

/** Something that whoever runs the process can mend: where in our code it was noticed does not help them. */
function explainsItself(cause: unknown): cause is Error & { readonly code: string; readonly fix?: string } {
  return cause instanceof Error && "code" in cause && typeof cause.code === "string" && cause.code.startsWith("E_");
}
