/**
 * The operator's command line: reads it, runs one command, shows the result.
 * Exit codes: 0 done; 1 failed, or checked and found wrong; 2 wrong usage; 3 not confirmed, or only partly done.
 */
import { Command, CommanderError } from "commander";
import { OperatorFault } from "./fault.ts";
import type { AddCommands, CommandContext, Run } from "./operator.ts";
import { createTerminal, type Streams, type Terminal } from "./terminal.ts";

const EXIT = { DONE: 0, FAILED: 1, WRONG_USE: 2, PARTIAL: 3 } as const;

/** How a service's command line introduces itself. */
export interface Program {
  /** The name to type. */
  readonly name: string;
  readonly description: string;
  /** An example call. */
  readonly example: string;
}

/** Resolves to the exit code. `argv` follows the program's name; `equipment` is what commands get besides `CommandContext`. */
export async function runProgram<Equipment extends object>(
  argv: readonly string[],
  options: Program & {
    commands: readonly AddCommands<Equipment>[];
    equipment: Equipment;
    streams: Streams;
    signal: AbortSignal;
    monotonic?: () => number;
  },
): Promise<number> {
  const { commands, equipment, streams, signal, monotonic = () => performance.now() } = options;
  let exitCode: number = EXIT.DONE;
  // Until the command line is parsed, this is the only indication.
  let terminal = createTerminal(streams, { json: argv.includes("--json"), monotonic });

  const run: Run<Equipment> = (work) =>
    async function action(this: Command) {
      const { json, dryRun, yes } = this.optsWithGlobals<Partial<Record<"json" | "dryRun" | "yes", boolean>>>();
      terminal = createTerminal(streams, { json: json === true, monotonic });
      const operator = {
        ...equipment,
        ...createDesk({ streams, terminal, signal, dryRun: dryRun === true, yes: yes === true }),
      };
      const report = await work(operator, { args: this.args, options: this.opts() });
      terminal.report(report);
      exitCode = EXIT[report.outcome ?? "DONE"];
    };

  const program = new Command(options.name)
    .description(`${options.description} Each says more with --help.`)
    .usage("<noun> <verb> [options]")
    .option("--json", "the result as one JSON document on stdout; errors and progress as JSON lines on stderr")
    .option("--dry-run", "say what would be done, and write nothing")
    .option("--yes", "do not ask before irreversible changes")
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({
      writeOut: (text) => streams.stdout.write(text),
      writeErr: (text) => streams.stderr.write(text),
      outputError: () => undefined,
    })
    .exitOverride()
    .addHelpText("after", `\nFor example: ${options.example}\nMore: docs/operations.md`);
  for (const add of commands) add(program, run);

  try {
    await program.parseAsync(argv, { from: "user" });
    return exitCode;
  } catch (cause) {
    if (cause instanceof CommanderError) return endOfParsing(cause, terminal);
    terminal.fault(cause);
    if (!(cause instanceof OperatorFault)) return EXIT.FAILED;
    return cause.code === "E_USAGE" ? EXIT.WRONG_USE : EXIT.PARTIAL;
  }
}

function createDesk(options: {
  streams: Streams;
  terminal: Terminal;
  signal: AbortSignal;
  dryRun: boolean;
  yes: boolean;
}): CommandContext {
  const { streams, terminal, signal, dryRun, yes } = options;
  return {
    dryRun,
    signal,
    stdin: streams.stdin,
    stdout: streams.stdout,
    progress: (what, done, total) => terminal.progress(what, done, total),
    confirm: async (question) => {
      if (!dryRun && !yes) await terminal.ask(question, signal);
    },
  };
}

/** Commander ends by throwing, even after it has shown help. */
function endOfParsing({ code, exitCode, message }: CommanderError, terminal: Terminal): number {
  if (exitCode === 0) return EXIT.DONE;
  if (code !== "commander.help") {
    const sentence = message.replace(/^error: /, "").replaceAll("\n", " ");
    terminal.fault(new OperatorFault("E_USAGE", sentence, "Add --help to the command to see what it takes."));
  }
  return EXIT.WRONG_USE;
}
