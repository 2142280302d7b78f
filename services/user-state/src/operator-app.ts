/**
 * The operator's commands of this service. Exit codes: 0 done; 1 failed, or looked at and refused; 2 not how the command
 * is used.
 */
import { assertMigrated, openDatabase } from "@continuo/database";
import { isAppError } from "@continuo/errors";
import { createLogger, sendLogsTo } from "@continuo/process";
import { Command, CommanderError } from "commander";
import { PrismaClient } from "./database/generated/client.ts";
import { loadSeedEnv } from "./env.ts";
import { addNamespaceCommands, WrongUse } from "./namespace/namespace.commands.ts";
import { createNamespaceStore } from "./namespace/namespace.store.ts";

interface Streams {
  readonly stdout: NodeJS.WritableStream;
  readonly stderr: NodeJS.WritableStream;
}

/** Runs one command; resolves to the exit code. `argv` is what follows the program's name, `source` the environment. */
export async function runOperator(
  argv: readonly string[],
  options: { source?: () => Promise<Readonly<Record<string, string | undefined>>>; streams?: Streams } = {},
): Promise<number> {
  const { source, streams = process } = options;
  await using opened = new AsyncDisposableStack();
  // Stdout is the result's.
  sendLogsTo(process.stderr.fd);
  const isJson = argv.includes("--json");
  let exitCode = 0;

  const program = new Command("continuo-state")
    .description("Commands for whoever operates the user-state service. Each says more with --help.")
    .usage("<noun> <verb> [options]")
    .option("--json", "the result as one JSON document on stdout; errors as JSON lines on stderr")
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({
      writeOut: (text) => streams.stdout.write(text),
      writeErr: (text) => streams.stderr.write(text),
      outputError: () => undefined,
    })
    .exitOverride();
  addNamespaceCommands(program, {
    async store() {
      const env = loadSeedEnv(await source?.());
      const log = createLogger({ name: "operator", level: env.LOG_LEVEL });
      const { pool } = opened.use(
        openDatabase({
          url: env.DATABASE_URL,
          PrismaClient,
          applicationName: "continuo-state-operator",
          poolSize: 1,
          log,
        }),
      );
      await assertMigrated(pool);
      return createNamespaceStore(pool);
    },
    report({ value, text, failed = false }) {
      streams.stdout.write(`${isJson ? JSON.stringify(value) : text}\n`);
      exitCode = failed ? 1 : 0;
    },
  });

  try {
    await program.parseAsync(argv, { from: "user" });
    return exitCode;
  } catch (cause) {
    if (cause instanceof CommanderError && cause.exitCode === 0) return 0;
    const isWrongUse = cause instanceof CommanderError || cause instanceof WrongUse;
    const code = isWrongUse ? "E_USAGE" : isAppError(cause) ? `${cause.code}/${cause.reason}` : codeOf(cause);
    const message = cause instanceof Error ? cause.message.replace(/^error: /, "") : String(cause);
    const said = isJson ? JSON.stringify({ error: { code, message } }) : `${code}  ${message}`;
    // A program without a command has shown its help already.
    if (!(cause instanceof CommanderError && cause.code === "commander.help")) streams.stderr.write(`${said}\n`);
    return isWrongUse ? 2 : 1;
  }
}

function codeOf(cause: unknown): string {
  const code: unknown = cause instanceof Error && "code" in cause ? cause.code : undefined;
  return typeof code === "string" && code.startsWith("E_") ? code : "E_UNEXPECTED";
}
