/**
 * Starts a Postgres program in a directory, with the rights of an account, in its own process group
 * (Ctrl-C in a terminal must not reach it: the database stops last).
 */
import { spawn, type ChildProcess, type StdioOptions } from "node:child_process";
import type { Account } from "./account.ts";

export interface Launch {
  readonly program: string;
  /** The data directory, also used as the working directory. */
  readonly directory: string;
  readonly arguments: readonly string[];
  readonly account: Account | undefined;
  readonly stdio: StdioOptions;
}

/** Runs `program -D directory …arguments`. */
export function launch(options: Launch): ChildProcess {
  return spawn(options.program, ["-D", dataDirectoryArgument(options), ...options.arguments], {
    cwd: options.directory,
    detached: true,
    stdio: options.stdio,
    env: { LC_ALL: "C", TZ: "UTC" },
    ...(options.account && { uid: options.account.uid, gid: options.account.gid }),
  });
}

/**
 * Another account may have no access to the path itself (a project in /root). The working directory is entered while we
 * are still root, and Linux lets a process reach its own working directory without walking the path to it.
 */
function dataDirectoryArgument({ account, directory }: Launch): string {
  return account && process.platform === "linux" ? "/proc/self/cwd" : directory;
}
