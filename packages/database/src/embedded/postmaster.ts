/**
 * One postmaster process: what its pid file says, and how it is started, awaited and stopped.
 * Not supervision: `embedded-postgres.ts` brings it back after a crash.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { chown, open, readFile, rename, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Cluster } from "./cluster.ts";
import { launch } from "./launch.ts";
import { isRunning, programOf } from "./process-table.ts";

/** How data survives: `durable` as Postgres means it; `throwaway` trades that for speed, and leaves nothing behind. */
export type Tuning = "durable" | "throwaway";

const SETTINGS = {
  listen_addresses: "127.0.0.1",
  unix_socket_directories: "",
  max_connections: "200",
  jit: "off",
  timezone: "UTC",
  log_timezone: "UTC",
};
const THROWAWAY = {
  fsync: "off",
  synchronous_commit: "off",
  full_page_writes: "off",
  wal_level: "minimal",
  max_wal_senders: "0",
};
/** Higher than any process id on Linux and macOS. */
const NO_PID = 2_147_483_647;
const FAST_STOP_MS = 10_000;
const LOG_LIMIT_BYTES = 8 * 1024 * 1024;

/** A running postmaster. `exited` resolves when it is gone, with what it logged. */
export interface Postmaster {
  readonly pid: number;
  readonly port: number;
  readonly exited: Promise<string>;
}

/** The postmaster that the pid file names, if that process is alive and is a Postgres. `port` is unknown while it starts. */
export async function findPostmaster(
  cluster: Pick<Cluster, "directory">,
): Promise<{ pid: number; port: number | undefined } | undefined> {
  const lines = (await readFile(pidFile(cluster), "utf8").catch(() => "")).split("\n");
  const pid = Number(lines[0]);
  if (!(pid > 0) || !isRunning(pid)) return undefined;
  if (programOf(pid) !== "postgres") {
    await disownPid(cluster);
    return undefined;
  }
  return { pid, port: Number(lines[3]) || undefined };
}

/**
 * A pid file may name a process that is not this server: its number was reused after a reboot, or the directory is a
 * copy. Postgres would refuse to start. Only the number is replaced: from the rest of the file Postgres checks that no
 * child of the old postmaster still uses its shared memory. A postmaster that is just exiting removes its own file.
 */
export async function disownPid(cluster: Pick<Cluster, "directory">): Promise<void> {
  const file = pidFile(cluster);
  const found = await Promise.all([stat(file), readFile(file, "utf8")]).catch(ignoreMissing);
  if (!found) return;
  const [{ mode, uid, gid }, text] = found;
  await writeFile(`${file}.new`, text.replace(/^\d+/, String(NO_PID)), { mode });
  await chown(`${file}.new`, uid, gid);
  await rename(`${file}.new`, file);
}

function ignoreMissing(cause: NodeJS.ErrnoException): undefined {
  if (cause.code !== "ENOENT") throw cause;
}

/** Starts a postmaster on `port`; it may still be recovering when this returns. */
export async function startPostmaster(
  cluster: Cluster,
  options: { program: string; port: number; tuning: Tuning },
): Promise<Postmaster> {
  const settings = { ...SETTINGS, ...(options.tuning === "throwaway" && THROWAWAY), port: String(options.port) };
  const full = await stat(cluster.logFile).then(
    ({ size }) => size > LOG_LIMIT_BYTES,
    () => false,
  );
  await using log = await open(cluster.logFile, full ? "w" : "a", 0o600);
  const { size } = await log.stat();
  const child = launch({
    program: options.program,
    directory: cluster.directory,
    arguments: Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]),
    account: cluster.account,
    stdio: ["ignore", log.fd, log.fd],
  });
  const spawned = await once(child, "spawn").then(
    () => "",
    (cause: unknown) => String(cause),
  );
  if (child.pid === undefined) return { pid: 0, port: options.port, exited: Promise.resolve(spawned) };
  const guard = guardAgainstOurDeath(child.pid, options.tuning === "throwaway" ? cluster.home : undefined);
  const exited = new Promise<void>((resolve) => child.once("exit", () => resolve())).then(async () => {
    guard.stdin?.end("done\n");
    return (await readFile(cluster.logFile, "utf8").catch(() => "")).slice(size);
  });
  return { pid: child.pid, port: options.port, exited };
}

/** Fast shutdown (closes connections and writes a checkpoint), then an immediate one if that does not finish. */
export async function stopPostmaster(pid: number): Promise<void> {
  for (const signal of ["SIGINT", "SIGQUIT"] as const) {
    send(pid, signal);
    const deadline = performance.now() + FAST_STOP_MS;
    while (programOf(pid) === "postgres") {
      if (performance.now() > deadline) break;
      await delay(10);
    }
  }
}

/** A shell that waits for our end of a pipe to close: if we die without stopping Postgres, the shell stops it. */
function guardAgainstOurDeath(pid: number, discard: string | undefined): ChildProcess {
  const script = `read -r word || { kill -INT "$1"; [ -z "$2" ] || { while kill -0 "$1"; do sleep 0.1; done; rm -rf "$2"; } }`;
  const guard = spawn("sh", ["-c", script, "postgres-guard", String(pid), discard ?? ""], {
    detached: true,
    stdio: ["pipe", "ignore", "ignore"],
    cwd: "/",
  });
  guard.on("error", () => undefined);
  guard.stdin?.on("error", () => undefined);
  guard.unref();
  if (guard.stdin && "unref" in guard.stdin && typeof guard.stdin.unref === "function") guard.stdin.unref();
  return guard;
}

function send(pid: number, signal: NodeJS.Signals): void {
  try {
    if (programOf(pid) === "postgres") process.kill(pid, signal);
  } catch {
    // It exited between the check and the signal.
  }
}

function pidFile(cluster: Pick<Cluster, "directory">): string {
  return join(cluster.directory, "postmaster.pid");
}
