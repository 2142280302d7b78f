/**
 * Turns the environment into typed configuration, parsed once per process.
 * No service's defaults belong here: each service owns its schema in its `env.ts`.
 */
import { z } from "zod";

/** The environment does not parse; `message` lists every problem at once. */
export class EnvError extends Error {
  override readonly name = "EnvError";
  readonly code = "E_ENV_INVALID";

  constructor(message: string) {
    super(message);
    // Where our code noticed does not help the person who runs the process.
    this.stack = `${this.code}  ${message}`;
  }
}

/** Parses `source` (default: this process's environment) by `schema`; an empty string counts as unset. Throws EnvError. */
export function loadEnv<Schema extends z.ZodType>(
  schema: Schema,
  source: Readonly<Record<string, string | undefined>> = process.env,
): z.output<Schema> {
  const set = Object.fromEntries(Object.entries(source).filter(([, value]) => value !== ""));
  const parsed = schema.safeParse(set);
  if (!parsed.success) throw new EnvError(`The environment is not valid:\n${z.prettifyError(parsed.error)}`);
  return parsed.data;
}
