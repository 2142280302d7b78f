/** Types of environment variables that several processes share. */
import { createPrivateKey, createPublicKey } from "node:crypto";
import { z } from "zod";

/** A TCP port; 0 asks the operating system for a free one. */
export const port = z.coerce.number().int().min(0).max(65_535);

/** The address a process listens on. */
export const host = z.string().default("127.0.0.1").describe("Address to listen on.");

/** The port of `/live`, `/ready` and `/metrics`, for processes whose own port is public or that have none. */
export const healthPort = port.optional().describe("Serves /live, /ready and /metrics there; none when unset.");

/** Maximum number of Postgres connections of a process. */
export const databasePoolSize = z.coerce
  .number()
  .int()
  .min(1)
  .max(1_000)
  .default(10)
  .describe("Database connections at most.");

/** The lowest level that this process logs: `silent` in tests, `info` in production. */
export const logLevel = z
  .enum(["silent", "fatal", "error", "warn", "info", "debug", "trace"])
  .default("info")
  .describe("The lowest level that this process logs.");

/** The lowest level that a command logs, on stderr: stdout is for its result. */
export const commandLogLevel = logLevel
  .removeDefault()
  .default("warn")
  .describe("The lowest level that a command logs, on stderr.");

/** `development` shows more (GraphiQL, introspection, open operations); `production` is closed. */
export const mode = z
  .enum(["development", "production"])
  .default("production")
  .describe("`development` adds GraphiQL and introspection.");

/**
 * The token issuer, exactly as clients compare it: no query, no fragment (RFC 8414 section 2), and no path character
 * that is ever escaped.
 */
export const issuer = z
  .string()
  .regex(
    /^https?:\/\/[^/?#\s]+(\/[\w.~-]+)*\/?$/,
    "expected https://host, or https://host/path of letters, digits, - . _ ~, without query and fragment",
  )
  .pipe(z.url());

const POSTGRES_URL = "expected postgresql://user:password@host:port/database";

/** A Postgres connection string. */
export const postgresUrl = z
  .string()
  .regex(/^postgres(ql)?:\/\/\S+$/, POSTGRES_URL)
  .refine((text) => URL.canParse(text), POSTGRES_URL);

const REDIS_URL = "expected redis://host:port[,redis://host:port …] or redis-cluster://host:port";

/** Redis or Valkey: one URL; several joined by commas, or redis-cluster://, for a cluster. Unset: everything runs over Postgres. */
export const redisUrl = z
  .string()
  .regex(/^rediss?(-cluster)?:\/\/\S+$/, REDIS_URL)
  .refine((text) => text.split(",").every((part) => /^rediss?(-cluster)?:/.test(part) && URL.canParse(part)), REDIS_URL)
  .optional()
  .describe("Redis or Valkey, several URLs joined by commas for a cluster. Unset: pokes and jobs run over Postgres.");

/** A JWK as JSON text, for signing. */
export const privateJwk = jwk("a private", (key) => createPrivateKey({ key, format: "jwk" }));

/** A JWK as JSON text, for verifying; one with a private half has been put in the wrong place. */
export const publicJwk = jwk("a public", (key) => {
  if (key["d"] !== undefined) throw new TypeError("a private key");
  createPublicKey({ key, format: "jwk" });
});

function jwk(which: string, read: (key: Jwk) => unknown) {
  return z.string().transform((text, context) => {
    try {
      const key = z.looseObject({ kty: z.string(), kid: z.string() }).parse(JSON.parse(text));
      read(key);
      return key;
    } catch {
      // Nothing of the text: it may be a secret.
      context.addIssue({ code: "custom", message: `expected ${which} JSON Web Key with kty and kid, as JSON` });
      return z.NEVER;
    }
  });
}

type Jwk = Record<string, unknown> & { kty: string; kid: string };

/** A 256-bit secret in base64url. */
export const secret256 = z
  .string()
  .regex(/^[\w-]{43}=?$/, "expected 32 random bytes in base64url")
  .transform((text) => Buffer.from(text, "base64url"));
