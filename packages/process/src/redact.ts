/**
 * Removes whatever may hold a token or a password from log lines. (pino's own redaction costs several times the line itself.)
 */

const SECRETS: ReadonlySet<string> = new Set([
  "authorization",
  "cookie",
  "password",
  "accessToken",
  "refreshToken",
  "grant",
  "token",
  "ticket",
  "secret",
  "assertion",
  "dpop",
]);
const CENSOR = "[redacted]";
const LEVELS = 3;

/**
 * `value` as JSON would render it, with secrets redacted down to `levels` levels; `value` itself when it has none. Does
 * not mutate it.
 */
export function redact<Value>(value: Value, levels = LEVELS): Value {
  if (levels === 0 || typeof value !== "object" || value === null || value instanceof Error) return value;
  if ("toJSON" in value && typeof value.toJSON === "function") return redact(value.toJSON(), levels);
  const clean = new Map<string, unknown>();
  for (const [key, held] of Object.entries(value)) {
    const shown: unknown = SECRETS.has(key) ? CENSOR : redact(held, levels - 1);
    if (shown !== held) clean.set(key, shown);
  }
  if (clean.size === 0) return value;
  const copy: unknown = Object.assign(Array.isArray(value) ? [...value] : { ...value }, Object.fromEntries(clean));
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- of the same shape
  return copy as Value;
}
