/** CPU time of running processes, as the kernel accounts it. Linux only: elsewhere the CPU columns stay empty. */
import { readdirSync, readFileSync } from "node:fs";

/** The kernel reports these times in hundredths of a second, whatever its own clock. */
const MICROS_PER_TICK = 10_000;

/** User and system time so far in µs, summed; undefined where the system does not report it. An exited process counts 0. */
export function cpuMicros(pids: readonly number[]): number | undefined {
  if (process.platform !== "linux") return undefined;
  return pids.reduce((sum, pid) => sum + (accountOf(pid)?.micros ?? 0), 0);
}

/** A process and its direct children: a postmaster with its backends. */
export function familyOf(pid: number): number[] {
  if (process.platform !== "linux") return [pid];
  const others = readdirSync("/proc").map(Number).filter(Number.isInteger);
  return [pid, ...others.filter((other) => accountOf(other)?.parent === pid)];
}

/** proc_pid_stat(5): fields 4 (ppid), 14 and 15 (utime, stime), 16 and 17 (those of children that have exited). */
function accountOf(pid: number): { parent: number; micros: number } | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The name in field 2 may contain spaces and parentheses; nothing after the last closing one does.
    const fields = stat
      .slice(stat.lastIndexOf(")") + 2)
      .split(" ")
      .map(Number);
    const ticks = [11, 12, 13, 14].reduce((sum, index) => sum + (fields[index] ?? 0), 0);
    return { parent: fields[1] ?? 0, micros: ticks * MICROS_PER_TICK };
  } catch {
    return undefined;
  }
}
