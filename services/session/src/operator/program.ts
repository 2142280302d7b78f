/**
 * The operator's command line: reads it, runs one command, says what came of it.
 * Exit codes: 0 done; 1 failed, or looked at and found wrong; 2 not how the command is used; 3 not confirmed, or only a part is done.
 */
import { Command, CommanderError } from "commander";
import { OperatorFault } from "./fault.ts";
import type { AddCommands, Operator, Run } from "./operator.ts";
import { createTerminal, type Streams, type Terminal } from "./terminal.ts";

const EXIT = { DONE: 0, FAILED: 1, WRONG_USE: 2, PARTIAL: 3 } as const;

/** How the program is called, as its help says. */
const NAME = "npm run continuo --";

/** What a command gets that is not the command line's affair. */
export type Equipment = Omit<Operator, "dryRun" | "progress" | "confirm">;

/** Resolves to the exit code. `argv` is what follows the program's name. */
export async function runProgram(
  argv: readonly string[],
  options: {
    commands: readonly AddCommands[];
    equipment: Equipment;
    streams: Streams;
    monotonic?: () => number;
  },
): Promise<number> {
  const { commands, equipment, streams, monotonic = () => performance.now() } = options;
  let exitCode: number = EXIT.DONE;
  // Before the command line is understood there is nothing but this to go by.
  let terminal = createTerminal(streams, { json: argv.includes("--json"), monotonic });

  const run: Run = (work) =>
    async function action(this: Command) {
      const { json, dryRun, yes } = this.optsWithGlobals<Partial<Record<"json" | "dryRun" | "yes", boolean>>>();
      terminal = createTerminal(streams, { json: json === true, monotonic });
      const operator = operatorWith(equipment, terminal, { dryRun: dryRun === true, yes: yes === true });
      const report = await work(operator, { args: this.args, options: this.opts() });
      terminal.report(report);
      exitCode = EXIT[report.outcome ?? "DONE"];
    };

  const program = new Command("continuo")
    .description("Commands for whoever operates Continuo. Each says more with --help.")
    .usage("<noun> <verb> [options]")
    .option("--json", "the result as one JSON document on stdout; errors and progress as JSON lines on stderr")
    .option("--dry-run", "say what would be done, and write nothing")
    .option("--yes", "do not ask before what cannot be taken back")
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({
      writeOut: (text) => streams.stdout.write(text),
      writeErr: (text) => streams.stderr.write(text),
      outputError: () => undefined,
    })
    .exitOverride()
    .addHelpText("after", `\nFor example: ${NAME} sessions list --json\nMore: docs/operations.md`);
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

function operatorWith(
  equipment: Equipment,
  terminal: Terminal,
  { dryRun, yes }: { dryRun: boolean; yes: boolean },
): Operator {
  return {
    ...equipment,
    dryRun,
    progress: (what, done, total) => terminal.progress(what, done, total),
    confirm: async (question) => {
      if (!dryRun && !yes) await terminal.ask(question, equipment.signal);
    },
  };
}

/** Commander ends by throwing, also after it has shown help. */
function endOfParsing({ code, exitCode, message }: CommanderError, terminal: Terminal): number {
  if (exitCode === 0) return EXIT.DONE;
  if (code !== "commander.help") {
    const sentence = message.replace(/^error: /, "").replaceAll("\n", " ");
    terminal.fault(new OperatorFault("E_USAGE", sentence, "Add --help to the command to see what it takes."));
  }
  return EXIT.WRONG_USE;
}
