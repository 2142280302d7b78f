/**
 * A command of the operator: what it may use, and what it gives back. It writes no messages to the terminal itself and ends
 * no process: reading the command line and showing what came of it is `program.ts`. What a service's commands need beyond
 * that is its `Equipment`.
 *
 * To add commands, write a function of the service's type `AddCommands` in `<feature>/<feature>.commands.ts` and name it in
 * its `operator-app.ts`. Each command has a description, an example in its help where it is not plain, and an action made
 * by `run`. What it is given on the command line it parses by `parseOptions`. If it changes something that cannot be taken
 * back it asks `operator.confirm` first, and it honours `operator.dryRun`.
 */
import type { Command } from "commander";
import type { z } from "zod";
import { OperatorFault } from "./fault.ts";

/** What every command may use. */
export interface Desk {
  /** Say what would be done; write nothing. */
  readonly dryRun: boolean;
  /** Aborted by Ctrl-C: finish the batch under way and report what was done. */
  readonly signal: AbortSignal;
  /** For what a command reads or writes as a file; the result of one that writes here is `aside`. */
  readonly stdin: NodeJS.ReadableStream;
  readonly stdout: NodeJS.WritableStream;
  /** How far it is, for whoever watches; `total` where it is known. */
  progress(what: string, done: number, total?: number): void;
  /** Asks before something that cannot be taken back; `--yes` is the answer where nobody can be asked. Throws E_NOT_CONFIRMED. */
  confirm(question: string): Promise<void>;
}

/** What a command of a service may use. */
export type Operator<Equipment> = Equipment & Desk;

/** What was on the command line: arguments in their order, options under their names in camel case. */
export interface CommandInput {
  readonly args: readonly string[];
  readonly options: Readonly<Record<string, unknown>>;
}

/** What a command found or did. */
export interface Report {
  /** The one JSON document that `--json` prints. */
  readonly value: unknown;
  /** What a person reads; made from `value` when absent: a table of a list of objects, a line a property of an object. */
  readonly text?: string;
  /** FAILED: looked at and found wrong. PARTIAL: some of it is not done. */
  readonly outcome?: "DONE" | "FAILED" | "PARTIAL";
  /** Goes to stderr: stdout has what the command wrote there. */
  readonly aside?: boolean;
}

/** Makes the action of a command. */
export type Run<Equipment> = (
  work: (operator: Operator<Equipment>, input: CommandInput) => Promise<Report>,
) => (this: Command, ...given: unknown[]) => Promise<void>;

/** Adds the commands of a feature to `program`. */
export type AddCommands<Equipment> = (program: Command, run: Run<Equipment>) => void;

/** Parses arguments or options. Throws E_USAGE with each problem. */
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
