/** Each refusal leaves a line (ASVS 16.3.2): which case it was, and the request id that the client was given; nothing that was sent. */
import type { Logger } from "@continuo/process";

/** Writes it. `logger` carries the request id, or `requestId` says it; `sessionId` is of a caller who is known. */
export function logRefusal(
  logger: Pick<Logger, "info">,
  { code, reason }: { readonly code?: unknown; readonly reason?: unknown },
  about: { readonly requestId?: string; readonly sessionId?: string } = {},
): void {
  logger.info({ code, reason, ...about }, "refused");
}
