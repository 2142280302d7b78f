/** What `npm start` runs. The terminal is for a person; logs go to a file. */
import { createLogger, EnvError, runProcess, sendLogsTo, SetupError } from "@continuo/process";
import { renameSync, statSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { startEmbedded, type Embedded } from "./app.ts";
import { type Env, loadEnv } from "./env.ts";
import { createTerminal } from "./terminal.ts";
import { welcome } from "./welcome.ts";

/** A start that finds a larger log begins a new file, and keeps the old one. */
const LOG_LIMIT_BYTES = 64 * 1024 * 1024;

const { values } = parseArgs({ options: { since: { type: "string" } }, allowPositionals: true });
const startedAt = Number(values.since ?? Date.now());
const terminal = createTerminal(process.stdout);
const env = readEnv();
const logFile = join(env.DATA_DIRECTORY, "logs/continuo.log");
openLog();
// Our parent holds the other end of this channel: when it breaks, nobody is left to stop us.
process.once("disconnect", () => process.kill(process.pid, "SIGTERM"));
await runProcess(start, { logger: createLogger({ name: "continuo", level: env.LOG_LEVEL }) });

function readEnv(): Env {
  try {
    return loadEnv();
  } catch (cause) {
    if (cause instanceof EnvError) terminal.say(`${cause.code}  ${cause.message}`);
    process.exit(1);
  }
}

function openLog(): void {
  try {
    const { size = 0 } = statSync(logFile, { throwIfNoEntry: false }) ?? {};
    if (size > LOG_LIMIT_BYTES) renameSync(logFile, `${logFile}.1`);
    sendLogsTo(logFile);
  } catch (cause) {
    const sentence = `The data directory ${env.DATA_DIRECTORY} cannot be written to.`;
    const fix = "Make it a folder that is writable for you, or set DATA_DIRECTORY to one that is.";
    terminal.say(new SetupError("E_FOLDER_READ_ONLY", sentence, fix, cause).explain());
    process.exit(1);
  }
}

async function start(): Promise<Embedded> {
  try {
    const embedded = await startEmbedded(env, terminal);
    const seconds = (Date.now() - startedAt) / 1_000;
    terminal.say(welcome({ url: embedded.url, seconds, dataDirectory: env.DATA_DIRECTORY }));
    return embedded;
  } catch (cause) {
    terminal.say(`\n${explain(cause)}`);
    throw cause;
  }
}

function explain(cause: unknown): string {
  if (cause instanceof SetupError) return cause.explain();
  const why = cause instanceof Error ? cause.message : String(cause);
  return `It did not start: ${why}\n  Fix: read ${logFile}, or run: npm run doctor`;
}
