/** An operator at a system, as tests see one. */
import { PassThrough } from "node:stream";
import { text } from "node:stream/consumers";
import { runOperator } from "./operator-app.ts";
import type { System } from "./system.fixture.ts";

/** What a command with `--json` ended with: its exit code, its document, and what it said on stderr. */
export interface Outcome {
  readonly code: number;
  readonly value: unknown;
  readonly said: string;
}

/** Runs one command with `--json`, where nobody can be asked. `signal` is Ctrl-C. */
export async function operate(
  { env, clock, signal }: Pick<System, "env" | "clock"> & { readonly signal?: AbortSignal },
  ...argv: string[]
): Promise<Outcome> {
  const { DATABASE_URL, MASTER_KEY } = env;
  const [stdin, stdout, stderr] = [new PassThrough(), new PassThrough(), new PassThrough()];
  const code = await runOperator([...argv, "--json"], {
    source: async () => ({ DATABASE_URL, MASTER_KEY: MASTER_KEY[0].toString("base64url"), LOG_LEVEL: "silent" }),
    streams: { stdin, stdout, stderr },
    now: () => clock.now,
    ...(signal && { signal }),
  });
  stdout.end();
  stderr.end();
  const [out, said] = await Promise.all([text(stdout), text(stderr)]);
  return { code, value: out === "" ? undefined : JSON.parse(out), said };
}
