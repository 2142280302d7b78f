/** A process of the system under test: started from its own main file, watched, killed and restarted by its pid. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

export const repository = join(import.meta.dirname, "..");

const READY_WITHIN_MS = 60_000;
const STOPS_WITHIN_MS = 20_000;
const POLL_MS = 50;

export interface ProcessOptions {
  readonly name: string;
  /** Relative to the repository root, for example `gateway/src/main.ts`. */
  readonly file: string;
  readonly argv?: readonly string[] | undefined;
  readonly env: Readonly<Record<string, string>>;
  /** Polled until it resolves to true. Default: as soon as the process runs. */
  readonly isReady?: (() => Promise<boolean>) | undefined;
}

/** How a process ended: by itself with a code, or by a signal. */
export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface RunningProcess extends AsyncDisposable {
  readonly name: string;
  readonly pid: number;
  /** Everything it has written, over all restarts. */
  readonly log: () => string;
  /** Sends a signal and waits for the exit. */
  stop(signal: NodeJS.Signals): Promise<Exit>;
  /** Waits for the exit. */
  ended(): Promise<Exit>;
  /** Starts it again, with the same environment. */
  start(): Promise<void>;
  /** Waits until its output matches. */
  says(pattern: RegExp): Promise<void>;
}

/** Starts a process and waits until it is ready. Disposal ends it with SIGTERM, or SIGKILL if that does not help. */
export async function startProcess(options: ProcessOptions): Promise<RunningProcess> {
  const { name, file, argv = [], env, isReady = async () => true } = options;
  let child: ChildProcess;
  let log = "";

  async function start(): Promise<void> {
    child = spawn(process.execPath, [file, ...argv], {
      cwd: repository,
      env: {
        PATH: process.env["PATH"] ?? "",
        // As in the image.
        NODE_ENV: "production",
        NODE_COMPILE_CACHE: join(repository, ".data/cache/compile"),
        ...env,
      },
      stdio: ["ignore", "pipe", "pipe"],
    });
    for (const stream of [child.stdout, child.stderr])
      stream?.setEncoding("utf8").on("data", (text: string) => (log += text));
    const deadline = performance.now() + READY_WITHIN_MS;
    while (!(await isReady())) {
      if (hasEnded(child) || performance.now() > deadline) {
        child.kill("SIGKILL");
        throw new Error(`${name} did not become ready:\n${log.slice(-4_000)}`);
      }
      await delay(POLL_MS);
    }
  }

  async function ended(): Promise<Exit> {
    if (!hasEnded(child)) await once(child, "close");
    return { code: child.exitCode, signal: child.signalCode };
  }

  async function stop(signal: NodeJS.Signals): Promise<Exit> {
    child.kill(signal);
    const late = setTimeout(() => child.kill("SIGKILL"), STOPS_WITHIN_MS);
    try {
      return await ended();
    } finally {
      clearTimeout(late);
    }
  }

  await start();
  return {
    name,
    get pid() {
      return child.pid ?? 0;
    },
    log: () => log,
    stop,
    ended,
    start,
    async says(pattern) {
      const deadline = performance.now() + READY_WITHIN_MS;
      while (!pattern.test(log)) {
        if (hasEnded(child) || performance.now() > deadline)
          throw new Error(`${name} never said ${pattern}:\n${log.slice(-4_000)}`);
        await delay(POLL_MS);
      }
    },
    async [Symbol.asyncDispose]() {
      await stop("SIGTERM");
    },
  };
}

/** Whether `<base>/ready` answers 200. */
export function readyAt(base: string): () => Promise<boolean> {
  return () =>
    fetch(`${base}/ready`, { signal: AbortSignal.timeout(2_000) }).then(
      ({ ok }) => ok,
      () => false,
    );
}

/** Runs a file to completion. Throws with its output unless it exits with 0. */
export async function runToEnd(
  file: string,
  env: Readonly<Record<string, string>>,
  argv: readonly string[] = [],
): Promise<void> {
  const started = await startProcess({ name: file, file, argv, env });
  const { code, signal } = await started.ended();
  if (code !== 0) throw new Error(`${file} ended with ${code ?? signal}:\n${started.log()}`);
}

function hasEnded({ exitCode, signalCode }: ChildProcess): boolean {
  return exitCode !== null || signalCode !== null;
}
