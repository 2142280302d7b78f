/** Who takes turns in a benchmark: a load of its own, and the processes whose work it is. */
import { z } from "zod";
import { startChild } from "./child.ts";
import { cpuMicros, familyOf } from "./cpu.ts";
import { Tally, type Bound } from "./load-protocol.ts";
import type { Turn } from "./measure.ts";
import type { Subject } from "./subject.ts";

/** How much of everything: the same for every contender of a run. */
export interface Effort {
  readonly rounds: number;
  readonly seconds: number;
  /** Operations under way at once. */
  readonly workers: number;
}

/** One file in `benchmarks/` each. */
export interface Benchmark {
  readonly name: string;
  /** What is done, in one line. */
  what(effort: Effort): string;
  /** Ours first; what they open goes on the stack. */
  open(subject: Subject, effort: Effort, stack: AsyncDisposableStack): Promise<Contender[]>;
}

export interface Contender {
  readonly name: string;
  turn(): Promise<Turn>;
}

export interface ContenderOptions {
  readonly name: string;
  /** A module in `drivers/`, by name. */
  readonly driver: string;
  readonly options: unknown;
  readonly workers: number;
  readonly bound: Bound;
  /** Rates for a closed loop; `latency` for one operation after the other, where a rate would say nothing new. */
  readonly measures?: "rate" | "latency";
  /** Made before each turn and given to the driver: what can be used only once. */
  readonly supply?: () => Promise<unknown>;
  /** Whose CPU time it costs, by what they are called; without it, the load generator's own: it does the work itself. */
  readonly processes?: Readonly<Record<string, readonly number[]>>;
}

/** Starts the load generator of a contender; it waits until `turn`. */
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

/** CPU µs per operation: of all processes but Postgres, of the gateway alone where there is one, of Postgres. */
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
