/** The contenders of a benchmark: each has its own load generator, and the processes that do the work. */
import { z } from "zod";
import { startChild } from "./child.ts";
import { cpuMicros, familyOf } from "./cpu.ts";
import { Tally, type Bound } from "./load-protocol.ts";
import type { Turn } from "./measure.ts";
import type { Subject } from "./subject.ts";

/** The amount of load: the same for every contender of a run. */
export interface Effort {
  readonly rounds: number;
  readonly seconds: number;
  /** Concurrent operations. */
  readonly workers: number;
}

/** A benchmark, defined in `benchmarks/`. */
export interface Benchmark {
  readonly name: string;
  /** What it does, in one line. */
  what(effort: Effort): string;
  /** Opens the contenders, ours first; what they open goes on the stack. */
  open(subject: Subject, effort: Effort, stack: AsyncDisposableStack): Promise<Contender[]>;
}

export interface Contender {
  readonly name: string;
  turn(): Promise<Turn>;
}

export interface ContenderOptions {
  readonly name: string;
  /** Name of a module in `drivers/`. */
  readonly driver: string;
  readonly options: unknown;
  readonly workers: number;
  readonly bound: Bound;
  /** Rates for a closed loop; `latency` for sequential operations, where a rate would add nothing. */
  readonly measures?: "rate" | "latency";
  /** Made before each turn and passed to the driver: things that can be used only once. */
  readonly supply?: () => Promise<unknown>;
  /** The processes whose CPU time counts, by group name; default the load generator's own, when it does the work itself. */
  readonly processes?: Readonly<Record<string, readonly number[]>>;
}

/** Starts a contender's load generator, which then waits for `turn`. */
export async function openContender(subject: Subject, options: ContenderOptions): Promise<Contender & AsyncDisposable> {
  const { name, driver, workers, bound, supply, measures = "rate" } = options;
  const load = await startChild(
    new URL("load.ts", import.meta.url),
    { driver: new URL(`drivers/${driver}.ts`, import.meta.url).href, workers, options: options.options },
    z.null(),
  );
  const processes = options.processes ?? { load: [load.pid] };

  const account = (): Record<string, number | undefined> => ({
    ...Object.fromEntries(Object.entries(processes).map(([group, pids]) => [group, cpuMicros(pids)])),
    Postgres: cpuMicros(familyOf(subject.postgresPid)),
  });

  return {
    name,
    async turn() {
      await load.ask({ prepare: await supply?.() }, z.null());
      const before = account();
      const { operations, seconds, p50Ms, p99Ms } = await load.ask(bound, Tally);
      const after = account();
      const latency = { "p50 ms": p50Ms, "p99 ms": p99Ms };
      if (measures === "latency") return latency;
      return { "ops/s": operations / seconds, ...latency, ...costs(before, after, operations) };
    },
    [Symbol.asyncDispose]: () => load[Symbol.asyncDispose](),
  };
}

/** CPU µs per operation: of all processes except Postgres, of the gateway alone if there is one, and of Postgres. */
function costs(
  before: Readonly<Record<string, number | undefined>>,
  after: Readonly<Record<string, number | undefined>>,
  operations: number,
): Turn {
  const spent = Object.entries(after).flatMap(([group, micros]) => {
    const earlier = before[group];
    return micros === undefined || earlier === undefined ? [] : [{ group, each: (micros - earlier) / operations }];
  });
  if (spent.length === 0) return {};
  const sum = (of: (group: string) => boolean): number =>
    spent.filter(({ group }) => of(group)).reduce((total, { each }) => total + each, 0);
  return {
    "CPU µs/op": sum((group) => group !== "Postgres"),
    "Postgres µs/op": sum((group) => group === "Postgres"),
    ...(spent.some(({ group }) => group === "gateway") && { "gateway µs/op": sum((group) => group === "gateway") }),
  };
}
