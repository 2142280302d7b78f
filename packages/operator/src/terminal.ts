/**
 * What an operator sees: the result on stdout, everything else on stderr, so that `… --json | jq` gets one document.
 * With `--json`, errors and progress are JSON lines too.
 */
import { createInterface } from "node:readline";
import { isAppError } from "@continuo/errors";
import type { Report } from "./operator.ts";
import { OperatorFault } from "./fault.ts";
import { asText, duration } from "./text.ts";

/** Where output goes, and who can be asked. */
export interface Streams {
  readonly stdin: NodeJS.ReadableStream & { readonly isTTY?: boolean };
  readonly stdout: NodeJS.WritableStream;
  readonly stderr: NodeJS.WritableStream & { readonly isTTY?: boolean };
}

export interface Terminal {
  report(report: Report): void;
  progress(what: string, done: number, total?: number): void;
  fault(cause: unknown): void;
  /** Throws E_NOT_CONFIRMED for any answer but yes, and where nobody can be asked. */
  ask(question: string, signal: AbortSignal): Promise<void>;
}

const PROGRESS_EVERY_MS = 1_000;
const CLEAR_LINE = "\r\u001B[K";

/** `monotonic` reads a monotonic clock in milliseconds. */
export function createTerminal(streams: Streams, options: { json: boolean; monotonic: () => number }): Terminal {
  const { stdin, stdout, stderr } = streams;
  const { json, monotonic } = options;
  const isLive = stderr.isTTY === true && !json;
  let lineIsOpen = false;
  let current: { readonly what: string; readonly startedAt: number } | undefined;
  let shownAt = Number.NEGATIVE_INFINITY;

  const clear = (): void => {
    if (lineIsOpen) stderr.write(CLEAR_LINE);
    lineIsOpen = false;
  };

  return {
    report({ value, text, aside = false }) {
      clear();
      (aside ? stderr : stdout).write(json ? `${JSON.stringify(value)}\n` : ensureNewline(text ?? asText(value)));
    },

    progress(what, done, total) {
      const at = monotonic();
      if (current?.what !== what) current = { what, startedAt: at };
      const isLast = done === total;
      if (!isLast && at - shownAt < (isLive ? 100 : PROGRESS_EVERY_MS)) return;
      shownAt = at;
      if (json) {
        stderr.write(`${JSON.stringify({ progress: { what, done, ...(total !== undefined && { total }) } })}\n`);
        return;
      }
      const elapsedMs = at - current.startedAt;
      const count = total === undefined ? `${done}` : `${done} of ${total}`;
      const left =
        total === undefined || done === 0 || isLast || elapsedMs < PROGRESS_EVERY_MS
          ? ""
          : `, about ${duration((elapsedMs / done) * (total - done))} left`;
      stderr.write(isLive ? `${CLEAR_LINE}  ${what}: ${count}${left}` : `  ${what}: ${count}${left}\n`);
      lineIsOpen = isLive;
    },

    fault(cause) {
      clear();
      const { code, message, fix } = faultOf(cause);
      if (json) {
        stderr.write(`${JSON.stringify({ error: { code, message, ...(fix !== undefined && { fix }) } })}\n`);
        return;
      }
      stderr.write(`${code}  ${message}\n`);
      if (fix !== undefined) stderr.write(`  Fix: ${fix}\n`);
    },

    async ask(question, signal) {
      clear();
      if (json || stdin.isTTY !== true || stderr.isTTY !== true) {
        throw new OperatorFault("E_NOT_CONFIRMED", `${question} Nobody is here to say yes.`, "Add --yes.");
      }
      stderr.write(`${question} [y/N] `);
      // The terminal's own line editing is enough, and leaves Ctrl-C to the signal handlers.
      const prompt = createInterface({ input: stdin, terminal: false });
      const answer = await new Promise<string>((resolve) => {
        prompt.once("line", resolve);
        prompt.once("close", () => resolve(""));
        signal.addEventListener("abort", () => prompt.close(), { once: true });
      });
      prompt.close();
      if (/^y(es)?$/i.test(answer.trim())) return;
      throw new OperatorFault("E_NOT_CONFIRMED", "Nothing was changed.", "Answer y, or add --yes.");
    },
  };
}

/** An AppError is shown as `CODE/REASON`; any other error with a code and a fix keeps them. */
function faultOf(cause: unknown): { code: string; message: string; fix?: string } {
  if (isAppError(cause)) return { code: `${cause.code}/${cause.reason}`, message: cause.message };
  const message = cause instanceof Error ? cause.message || cause.name : String(cause);
  const code = property(cause, "code");
  if (code?.startsWith("E_") !== true) return { code: "E_UNEXPECTED", message };
  const fix = property(cause, "fix");
  return fix === undefined ? { code, message } : { code, message, fix };
}

function property(of: unknown, name: "code" | "fix"): string | undefined {
  if (!(of instanceof Error) || !(name in of)) return undefined;
  const value: unknown = Reflect.get(of, name);
  return typeof value === "string" ? value : undefined;
}

const ensureNewline = (text: string): string => (text.endsWith("\n") || text === "" ? text : `${text}\n`);
