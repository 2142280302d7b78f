import { EnvError } from "@continuo/process";

/**
 * Something about this machine or its configuration is wrong: a code, one sentence, and what to do.
 * Not an error of a request: clients never see it.
 */
export class SetupError extends Error {
  override readonly name = "SetupError";
  /** `E_PG_…` for the embedded Postgres, `E_DB_…` for any database. */
  readonly code: string;
  /** What the reader can do about it, as an instruction. */
  readonly fix: string;

  constructor(code: string, sentence: string, fix: string, cause?: unknown) {
    super(sentence, cause === undefined ? undefined : { cause });
    this.code = code;
    this.fix = fix;
  }

  /** For a terminal: code, sentence and fix, on two lines. */
  explain(): string {
    return `${this.code}  ${this.message}\n  Fix: ${this.fix}`;
  }
}

/** Runs a command line's work; what the reader can mend is explained on stderr and makes the exit code 1. */
export async function runCommand(work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (cause) {
    if (cause instanceof SetupError) process.stderr.write(`${cause.explain()}\n`);
    else if (cause instanceof EnvError) process.stderr.write(`${cause.code}  ${cause.message}\n`);
    else throw cause;
    process.exitCode = 1;
  }
}
