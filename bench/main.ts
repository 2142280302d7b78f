/**
 * `npm run bench [-- name …] [--rounds 5] [--seconds 3] [--workers 16] [--one-process]`: runs benchmarks (all, without
 * a name), prints a table for each and writes JSON to `results/`. It ends by itself; Ctrl-C stops it cleanly.
 */
import { parseArgs } from "node:util";
import type { Effort } from "./contender.ts";
import { ensureInstalled } from "./install.ts";
import type { Layout } from "./subject.ts";

const interrupted = new AbortController();
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
  process.on(signal, () => interrupted.abort(new Error("Interrupted.")));
}

try {
  const { names, effort, layout } = readArguments();
  await ensureInstalled();
  // Its imports exist only after the install.
  const { runBenchmarks } = await import("./run.ts");
  process.exitCode = (await runBenchmarks({ names, effort, layout }, interrupted.signal)) ? 0 : 1;
} catch (cause) {
  console.error(cause instanceof Error ? cause.message : cause);
  process.exitCode = interrupted.signal.aborted ? 130 : 1;
}

/** Bounded, so that access tokens outlive the load. */
function readArguments(): { names: string[]; effort: Effort; layout: Layout } {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: {
      rounds: { type: "string", default: "5" },
      seconds: { type: "string", default: "3" },
      workers: { type: "string", default: "16" },
      "one-process": { type: "boolean", default: false },
    },
  });
  const within = (name: "rounds" | "seconds" | "workers", least: number, most: number): number => {
    const value = Number(values[name]);
    if (value >= least && value <= most) return value;
    throw new RangeError(`--${name} is a number from ${least} to ${most}`);
  };
  const effort = {
    rounds: within("rounds", 5, 15),
    seconds: within("seconds", 0.5, 10),
    workers: within("workers", 1, 64),
  };
  return { names: positionals, effort, layout: values["one-process"] ? "ONE_PROCESS" : "PROCESSES" };
}
