/** Each refusal leaves a line (ASVS 16.3.2): which case it was, and the request id that the client was given; nothing that was sent. */
import { createCounter, type Logger } from "@continuo/process";

const countRefusal = createCounter(
  "continuo_refusals_total",
  "What the gateway refused, by code and reason (docs/errors.md).",
  ["code", "reason"],
);

/** A subgraph's reasons are its own: one that makes them up must not make a series of each. */
const MOST_REASONS = 300;
const reasons = new Set<string>();

function count(code: string, reason: string): void {
  if (reasons.size < MOST_REASONS) reasons.add(reason);
  countRefusal({ code, reason: reasons.has(reason) ? reason : "OTHER" });
}

/** Writes it. `sessionId` is of a caller who is known. */
export function logRefusal(
  logger: Pick<Logger, "info">,
  { code, reason }: { readonly code?: unknown; readonly reason?: unknown },
  about: { readonly requestId?: string; readonly sessionId?: string } = {},
): void {
  count(String(code), String(reason));
  logger.info({ code, reason, ...about }, "refused");
}
