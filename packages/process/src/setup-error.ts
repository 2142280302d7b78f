import { EnvError } from "./env.ts";

/**
 * Something is wrong with this machine or its configuration: a code, one sentence, and what to do.
 * Not a request error: clients never see it.
 */
export class SetupError extends Error {
  override readonly name = "SetupError";
  /** `E_…`, with a section in docs/errors.md. */
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

/** Runs a command's work; errors that the reader can fix are explained on stderr and set the exit code to 1. */
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
