/**
 * An operator's command: what it may use, and what it returns. It writes no messages to the terminal and ends no
 * process; `program.ts` reads the command line and shows the result. Whatever else a service's commands need is its
 * `Equipment`.
 *
 * To add commands, write a function of the service's type `AddCommands` in `<feature>/<feature>.commands.ts` and name
 * it in its `operator-app.ts`. Each command has a description, an example in its help where its use is not obvious, and
 * an action made by `run`. It parses its command-line input with `parseOptions`. If it changes something irreversibly
 * it calls `operator.confirm` first, and it honours `operator.dryRun`.
 */
import type { Command } from "commander";
import type { z } from "zod";
import { OperatorFault } from "./fault.ts";

/** What every command may use. */
export interface CommandContext {
  /** Say what would be done; write nothing. */
  readonly dryRun: boolean;
  /** Aborted by Ctrl-C: finish the batch under way and report what was done. */
  readonly signal: AbortSignal;
  /** For commands that read or write a file there; a command that writes to stdout reports `aside`. */
  readonly stdin: NodeJS.ReadableStream;
  readonly stdout: NodeJS.WritableStream;
  /** Shows progress to a watching operator; `total` if it is known. */
  progress(what: string, done: number, total?: number): void;
  /** Asks before something irreversible; `--yes` answers where nobody can be asked. Throws E_NOT_CONFIRMED. */
  confirm(question: string): Promise<void>;
}

/** What a command of a service may use. */
export type Operator<Equipment> = Equipment & CommandContext;

/** What was on the command line: arguments in order, options by their camel-case names. */
export interface CommandInput {
  readonly args: readonly string[];
  readonly options: Readonly<Record<string, unknown>>;
}

/** What a command found or did. */
export interface Report {
  /** The one JSON document that `--json` prints. */
  readonly value: unknown;
  /** What a person reads. Made from `value` when absent: a table for a list of objects, one line per property for an object. */
  readonly text?: string;
  /** FAILED: checked and found wrong. PARTIAL: some of it is not done. */
  readonly outcome?: "DONE" | "FAILED" | "PARTIAL";
  /** Report on stderr, because the command wrote its own output to stdout. */
  readonly aside?: boolean;
}

/** Makes the action of a command. */
export type Run<Equipment> = (
  work: (operator: Operator<Equipment>, input: CommandInput) => Promise<Report>,
) => (this: Command, ...given: unknown[]) => Promise<void>;

/** Adds the commands of a feature to `program`. */
export type AddCommands<Equipment> = (program: Command, run: Run<Equipment>) => void;

/** Parses arguments or options. Throws E_USAGE that lists every problem. */
export function parseOptions<Schema extends z.ZodType>(schema: Schema, value: unknown): z.output<Schema> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map(({ path, message }) => {
    const name = path
      .map(String)
      .join(".")
      .replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
    return name === "" ? message : `${name}: ${message}`;
  });
  throw new OperatorFault("E_USAGE", problems.join("; "), "Add --help to the command to see what it takes.");
}
