/**
 * The life of a process: start, wait for a signal, close everything in reverse order of opening, exit.
 * A second signal, or a close that takes too long, exits at once with 1.
 */
import type { Logger } from "./log.ts";

const SIGNALS = ["SIGTERM", "SIGINT", "SIGHUP"] as const;

/** Runs `start`, and disposes what it returned on SIGTERM, SIGINT or SIGHUP. Failures to start are logged, exit code 1. */
export async function runProcess(
  start: () => Promise<AsyncDisposable>,
  options: { logger: Logger; stopTimeoutMs?: number },
): Promise<void> {
  const { logger, stopTimeoutMs = 20_000 } = options;
  const stopping = Promise.withResolvers<string>();
  let signalled = false;
  for (const signal of SIGNALS) {
    process.on(signal, () => {
      if (signalled) process.exit(1);
      signalled = true;
      stopping.resolve(signal);
    });
  }
  process.on("unhandledRejection", (cause) => {
    logger.fatal({ err: cause }, "a promise was rejected and nobody looked: stopping");
    process.exit(1);
  });

  try {
    const started = await start();
    const signal = await stopping.promise;
    logger.info({ signal }, "stopping");
    setTimeout(() => {
      logger.error({ stopTimeoutMs }, "closing took too long: exiting now");
      process.exit(1);
    }, stopTimeoutMs).unref();
    await started[Symbol.asyncDispose]();
    logger.info("stopped");
    process.exit(0);
  } catch (cause) {
    logger.fatal({ err: cause }, "could not start or stop");
    process.exitCode = 1;
    setTimeout(() => process.exit(1), 100).unref();
  }
}
