/** Questions to the operating system about other processes. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";

/** Whether a process with this id exists, whatever its owner. */
export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (cause) {
    return cause instanceof Error && "code" in cause && cause.code === "EPERM";
  }
}

/** The program name of a running process; undefined when there is none, or only a zombie. */
export function programOf(pid: number): string | undefined {
  try {
    if (process.platform === "linux") {
      const [, name, state] = /^\d+ \((.*)\) (\S)/s.exec(readFileSync(`/proc/${pid}/stat`, "utf8")) ?? [];
      return state === "Z" || state === "X" ? undefined : name;
    }
    const [, state, , name] =
      /^(\S+)\s+(.*\/)?(.+)$/.exec(
        execFileSync("ps", ["-o", "stat=,comm=", "-p", String(pid)], { encoding: "utf8" }).trim(),
      ) ?? [];
    return state?.startsWith("Z") ? undefined : name;
  } catch {
    return undefined;
  }
}
