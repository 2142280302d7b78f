/**
 * Logs each refusal (ASVS 16.3.2): its code and reason, and the request id that the client was given; nothing that the
 * client sent.
 */
import { createCounter, type Logger } from "@continuo/process";

const countRefusal = createCounter(
  "continuo_refusals_total",
  "What the gateway refused, by code and reason (docs/errors.md).",
  ["code", "reason"],
);

/** Subgraphs choose their own reasons; one that generates them must not create a metric series for each. */
const MOST_REASONS = 300;
const reasons = new Set<string>();

function count(code: string, reason: string): void {
  if (reasons.size < MOST_REASONS) reasons.add(reason);
  countRefusal({ code, reason: reasons.has(reason) ? reason : "OTHER" });
}

/** Logs and counts a refusal. `sessionId` is set if the caller is known. */
export function logRefusal(
  logger: Pick<Logger, "info">,
  { code, reason }: { readonly code?: unknown; readonly reason?: unknown },
  about: { readonly requestId?: string; readonly sessionId?: string } = {},
): void {
  count(String(code), String(reason));
  logger.info({ code, reason, ...about }, "refused");
}
