/** Child processes, with visible or captured output; each receives a signal exactly once, and its exit code is returned. */
import { spawn } from "node:child_process";
import { constants } from "node:os";
import { delimiter } from "node:path";
import { bin, compileCache, root } from "./place.mjs";

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"];
/** Ctrl-C arrives twice: from the terminal, and forwarded by npm. A second press takes longer than this. */
const SAME_PRESS_MS = 500;
const PARENT_CHECK_MS = 250;

/** The environment of a child: the pinned Node comes first on its PATH, and Node's compile cache is kept for the next start. */
export function childEnv(extra = {}) {
  return {
    NODE_COMPILE_CACHE: compileCache,
    ...process.env,
    PATH: `${bin}${delimiter}${process.env.PATH ?? ""}`,
    ...extra,
  };
}

/**
 * Runs a program with visible output and resolves to its exit code (128 + n for a signal).
 * It gets its own session, so that a terminal's Ctrl-C reaches it only through us. With `tether`, it has an IPC channel
 * that breaks when we die, so a child that listens for `disconnect` is never left behind. With `asks`, it may read the
 * terminal.
 */
export function run(program, args, { env = childEnv(), tether = false, asks = false } = {}) {
  const child = spawn(program, args, {
    cwd: root,
    env,
    detached: true,
    stdio: [asks ? "inherit" : "ignore", "inherit", "inherit", ...(tether ? ["ipc"] : [])],
  });
  let passedOnAt = -Infinity;
  const passOn = (signal) => {
    if (performance.now() - passedOnAt < SAME_PRESS_MS) return;
    passedOnAt = performance.now();
    child.kill(signal);
  };
  for (const signal of SIGNALS) process.on(signal, passOn);
  // If npm is killed, or its shell dies of a signal without forwarding it, nobody can stop us any more.
  const parent = process.ppid;
  const watch = setInterval(() => process.ppid !== parent && passOn("SIGTERM"), PARENT_CHECK_MS);
  return ended(child).finally(() => {
    clearInterval(watch);
    for (const signal of SIGNALS) process.off(signal, passOn);
  });
}

/** Runs a program without showing its output; resolves to its exit code and that output. */
export async function capture(program, args, { env = childEnv(), cwd = root } = {}) {
  const child = spawn(program, args, { cwd, env, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (text) => (output += text));
  return { code: await ended(child), output };
}

function ended(child) {
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => resolve(code ?? 128 + (constants.signals[signal] ?? 0)));
  });
}
