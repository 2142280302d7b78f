import type { Logger } from "@continuo/process";

/** Our log as Apollo's packages want it: one text a line. What they call information is of no use to an operator. */
export function apolloLogger(logger: Logger): Record<"debug" | "info" | "warn" | "error", (text?: unknown) => void> {
  return {
    debug: () => undefined,
    info: () => undefined,
    warn: (text) => logger.warn(String(text)),
    error: (text) => logger.error(String(text)),
  };
}
