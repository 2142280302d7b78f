/** When a failed delivery is retried: for about a day, in the manner of Standard Webhooks. */

/** Seconds to wait after the first failure, the second, …; after the last one it is a dead letter. */
export const RETRY_SECONDS: readonly number[] = [5, 30, 120, 600, 1_800, 3_600, 7_200, 14_400, 28_800, 28_800];

/** Random deviation to either side, so that retries do not all hit a recovered receiver at once. */
const JITTER = 0.2;
/** The longest Retry-After that is honoured. Milliseconds. */
const LONGEST_RETRY_AFTER_MS = 6 * 3_600_000;

/**
 * Milliseconds until the next attempt; undefined after the last. `failures` includes the current one; `random` is in
 * [0, 1).
 * A receiver's Retry-After can only delay the attempt.
 */
export function retryDelayMs(options: {
  failures: number;
  retryAfterMs?: number | undefined;
  random: number;
  schedule?: readonly number[];
}): number | undefined {
  const { failures, retryAfterMs = 0, random, schedule = RETRY_SECONDS } = options;
  const seconds = schedule[failures - 1];
  if (seconds === undefined) return undefined;
  const planned = seconds * 1_000 * (1 - JITTER + 2 * JITTER * random);
  return Math.round(Math.max(planned, Math.min(retryAfterMs, LONGEST_RETRY_AFTER_MS)));
}

/** Milliseconds that a Retry-After header asks for (RFC 9110 section 10.2.3); undefined when it says nothing. */
export function parseRetryAfter(header: string | undefined, now: Date): number | undefined {
  if (header === undefined) return undefined;
  if (/^\d{1,9}$/.test(header)) return Number(header) * 1_000;
  const at = Date.parse(header);
  return Number.isNaN(at) ? undefined : Math.max(0, at - now.getTime());
}
