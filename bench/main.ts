/**
 * `npm run bench [-- name …] [--rounds 5] [--seconds 3] [--workers 16]`: runs benchmarks (all, without a name), prints a
 * table for each and writes JSON to `results/`. It stops by itself; Ctrl-C stops it cleanly.
 */
import { parseArgs } from "node:util";
import { ensureInstalled } from "./install.ts";

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: "string", default: "5" },
    seconds: { type: "string", default: "3" },
    workers: { type: "string", default: "16" },
  },
});

const effort = {
  rounds: within("rounds", values.rounds, 5, 15),
  seconds: within("seconds", values.seconds, 0.5, 10),
  workers: within("workers", values.workers, 1, 64),
};

const interrupted = new AbortController();
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => interrupted.abort());

try {
  await ensureInstalled();
  // Only now can what it imports be there.
  const { runBenchmarks } = await import("./run.ts");
  process.exitCode = (await runBenchmarks(positionals, effort, interrupted.signal)) ? 0 : 1;
} catch (cause) {
  console.error(cause instanceof Error ? cause.message : cause);
  process.exitCode = interrupted.signal.aborted ? 130 : 1;
}

/** The load stays bounded, and access tokens must outlive it. */
function within(name: string, text: string, least: number, most: number): number {
  const value = Number(text);
  if (value >= least && value <= most) return value;
  console.error(`--${name} is a number from ${least} to ${most}`);
  process.exit(2);
}
