/** A run: one system under test, with one benchmark after the other on it. */
import { mkdir, writeFile } from "node:fs/promises";
import { availableParallelism, cpus, totalmem } from "node:os";
import { join } from "node:path";
import { bytesPerEntry } from "./benchmarks/bytes-per-entry.ts";
import { changeToOtherDevice, changeToOtherDeviceOverHttp } from "./benchmarks/change-to-other-device.ts";
import { checkDpop } from "./benchmarks/check-dpop.ts";
import { checkInProcess } from "./benchmarks/check-in-process.ts";
import { check } from "./benchmarks/check.ts";
import { gatewayFanOut, gatewayFanOutToFew } from "./benchmarks/gateway-fan-out.ts";
import { gatewayList, gatewayNoHop, gatewayOneHop } from "./benchmarks/gateway.ts";
import { list } from "./benchmarks/list.ts";
import { me } from "./benchmarks/me.ts";
import { pull } from "./benchmarks/pull.ts";
import { push1, push20 } from "./benchmarks/push.ts";
import { refresh } from "./benchmarks/refresh.ts";
import { revoke } from "./benchmarks/revoke.ts";
import { revokeToClose, revokeToCloseAmongFew } from "./benchmarks/revoke-to-close.ts";
import { sessionDeviceQuery } from "./benchmarks/session-device-query.ts";
import { connectAndLeave, subscriptionMemory } from "./benchmarks/subscription-memory.ts";
import type { Benchmark, Effort } from "./contender.ts";
import { measuresOf, ratioOf, takeTurns, type Series } from "./measure.ts";
import { formatTable, type Comparison } from "./report.ts";
import { openSubject, query, type Layout, type Subject } from "./subject.ts";

const BENCHMARKS: readonly Benchmark[] = [
  check,
  checkDpop,
  checkInProcess,
  refresh,
  list,
  revoke,
  revokeToClose,
  revokeToCloseAmongFew,
  sessionDeviceQuery,
  me,
  gatewayNoHop,
  gatewayOneHop,
  gatewayList,
  gatewayFanOutToFew,
  gatewayFanOut,
  subscriptionMemory,
  connectAndLeave,
  push1,
  push20,
  pull,
  changeToOtherDevice,
  changeToOtherDeviceOverHttp,
  bytesPerEntry,
];
const RESULTS = join(import.meta.dirname, "results");

/** Whether every benchmark completed. Throws for an unknown name, and when interrupted. */
export async function runBenchmarks(
  { names, effort, layout }: { names: readonly string[]; effort: Effort; layout: Layout },
  signal: AbortSignal,
): Promise<boolean> {
  const chosen = choose(names);
  await using subject = await openSubject(layout);
  const machine = await describeMachine(subject);
  console.log(
    `${Object.values(machine).join(" · ")} · ours in ${layout === "PROCESSES" ? "processes" : "one process"}\n`,
  );
  let complete = true;
  for (const benchmark of chosen) {
    try {
      const comparison = await runOne(benchmark, { subject, effort, signal });
      console.log(formatTable(comparison));
      await writeResult(comparison, { machine, effort, layout });
    } catch (cause) {
      signal.throwIfAborted();
      complete = false;
      console.error(`${benchmark.name} failed: ${cause instanceof Error ? cause.message : String(cause)}\n`);
      for (const line of subject.complaints()) console.error(line);
    }
  }
  return complete;
}

function choose(names: readonly string[]): readonly Benchmark[] {
  const known = BENCHMARKS.map(({ name }) => name);
  const unknown = names.filter((name) => !known.includes(name));
  if (unknown.length > 0) throw new Error(`There is no ${unknown.join(", ")}. There are: ${known.join(", ")}.`);
  return names.length === 0 ? BENCHMARKS : BENCHMARKS.filter(({ name }) => names.includes(name));
}

interface Conditions {
  readonly subject: Subject;
  readonly effort: Effort;
  readonly signal: AbortSignal;
}

/** Opens and closes the contenders, also when interrupted: they must close before the system that they are connected to. */
async function runOne(benchmark: Benchmark, { subject, effort, signal }: Conditions): Promise<Comparison> {
  await using stack = new AsyncDisposableStack();
  const compare = async (): Promise<Series[]> => {
    const contenders = await benchmark.open(subject, effort, stack);
    // Postgres would do this by itself a minute after a table has grown.
    const takeStatistics = async (): Promise<void> => void (await query(subject.databaseUrl, "ANALYZE"));
    return takeTurns(contenders, effort.rounds, (contender) => contender.turn(), takeStatistics);
  };
  const [ours, ...yardsticks] = await Promise.race([compare(), aborted(signal)]);
  if (!ours) throw new Error("nobody took part");
  return { name: benchmark.name, what: benchmark.what(effort), series: [ours, ...yardsticks] };
}

/** Rejects with the signal's reason. */
function aborted(signal: AbortSignal): Promise<never> {
  const { promise, reject } = Promise.withResolvers<never>();
  const end = (): void => reject(signal.reason);
  if (signal.aborted) end();
  else signal.addEventListener("abort", end, { once: true });
  return promise;
}

type Machine = Readonly<Record<"cpu" | "cores" | "memory" | "platform" | "node" | "postgres" | "at", string>>;

async function describeMachine({ databaseUrl }: Subject): Promise<Machine> {
  const [version] = await query(databaseUrl, "SELECT current_setting('server_version') AS version");
  return {
    cpu: cpus()[0]?.model ?? "unknown CPU",
    cores: `${availableParallelism()} cores`,
    memory: `${Math.round(totalmem() / 2 ** 30)} GiB`,
    platform: `${process.platform}-${process.arch}`,
    node: `Node ${process.versions.node}`,
    postgres: `Postgres ${Object.values(version ?? {}).join("")}`,
    at: new Date().toISOString(),
  };
}

async function writeResult(
  comparison: Comparison,
  conditions: { machine: Machine; effort: Effort; layout: Layout },
): Promise<void> {
  const [ours, ...yardsticks] = comparison.series;
  const ratios = yardsticks.map((yardstick) => ({
    to: yardstick.name,
    ...Object.fromEntries(measuresOf(ours, yardstick).map((measure) => [measure, ratioOf(ours, yardstick, measure)])),
  }));
  await mkdir(RESULTS, { recursive: true });
  const text = JSON.stringify({ ...comparison, ratios, ...conditions }, null, 2);
  const file = conditions.layout === "PROCESSES" ? comparison.name : `${comparison.name}.one-process`;
  await writeFile(join(RESULTS, `${file}.json`), `${text}\n`);
}
