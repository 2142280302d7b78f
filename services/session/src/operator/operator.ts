/**
 * A command of the operator: what it may use, and what it gives back. It writes nothing to the terminal itself and ends
 * no process: reading the command line and showing what came of it is `program.ts`.
 *
 * To add commands, write a function of the type `AddCommands` in `<feature>/<feature>.commands.ts` and name it in
 * `operator-app.ts`. Each command has a description, an example in its help where it is not plain, and an action made
 * by `run`; `session/session.commands.ts` is a short one. What it is given on the command line it parses by
 * `parseOptions`. If it changes something it asks `operator.confirm` first, and honours `operator.dryRun`.
 */
import type { Command } from "commander";
import type { Database } from "@continuo/database";
import type { z } from "zod";
import type { PrismaClient } from "../database/generated/client.ts";
import type { MasterKeys } from "../env.ts";
import type { RevocationAnnouncer } from "../revocation/revocation.ts";
import { OperatorFault } from "./fault.ts";

/** What a command may use. */
export interface Operator {
  /** Opens when it is first asked for. Throws SetupError: E_DB_UNREACHABLE, E_DB_NOT_MIGRATED. */
  database(): Promise<Database<PrismaClient>>;
  /** The current one first. Throws EnvError when the environment has no MASTER_KEY. */
  masterKeys(): Promise<MasterKeys>;
  /** Says what was committed, so that gateways need not wait for their next look. */
  readonly announce: RevocationAnnouncer & { keysChanged(at: Date): Promise<void> };
  readonly now: () => Date;
  readonly createId: () => string;
  /** Say what would be done; write nothing. */
  readonly dryRun: boolean;
  /** Aborted by Ctrl-C: finish the batch under way and report what was done. */
  readonly signal: AbortSignal;
  /** How far it is, for whoever watches; `total` where it is known. */
  progress(what: string, done: number, total?: number): void;
  /** Asks before something that cannot be taken back; `--yes` is the answer where nobody can be asked. Throws E_NOT_CONFIRMED. */
  confirm(question: string): Promise<void>;
}

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
}

/** Makes the action of a command. */
export type Run = (
  work: (operator: Operator, input: CommandInput) => Promise<Report>,
) => (this: Command, ...given: unknown[]) => Promise<void>;

/** Adds the commands of a feature to `program`. */
export type AddCommands = (program: Command, run: Run) => void;

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
