/**
 * The load generator, a separate process: runs one driver's operation in a closed loop, several at a time, for a
 * bounded time, and reports how many and how fast. Any operation that fails ends the benchmark: a refusal is not throughput.
 */
import { createHistogram } from "node:perf_hooks";
import { z } from "zod";
import { serveParent, type Service } from "./child.ts";
import { Bound, LoadSettings, Prepare, type Driver, type OpenDriver, type Tally } from "./load-protocol.ts";

const DriverModule = z.object({ openDriver: z.custom<OpenDriver>((value) => typeof value === "function") });

async function openLoad(settings: unknown): Promise<Service> {
  const { driver: program, workers, options } = LoadSettings.parse(settings);
  const { openDriver } = DriverModule.parse(await import(program));
  const driver = await openDriver(options, workers);
  return {
    ready: null,
    async answer(question) {
      const turn = Bound.safeParse(question);
      if (turn.success) return run(driver, workers, turn.data);
      await driver.prepare?.(Prepare.parse(question).prepare);
      return null;
    },
    [Symbol.asyncDispose]: () => driver[Symbol.asyncDispose](),
  };
}

async function run(driver: Driver, workers: number, bound: Bound): Promise<Tally> {
  const latencies = createHistogram();
  const begin = performance.now();
  const until = "seconds" in bound ? begin + bound.seconds * 1_000 : Infinity;
  let left = "operations" in bound ? bound.operations : Infinity;

  async function work(worker: number): Promise<void> {
    while (left > 0 && performance.now() < until) {
      left -= 1;
      const started = performance.now();
      const counted = (await driver.operate(worker)) ?? performance.now() - started;
      latencies.record(Math.max(1, Math.round(counted * 1_000)));
    }
  }

  try {
    await Promise.all(Array.from({ length: workers }, (_, worker) => work(worker)));
  } finally {
    // When one worker fails, the others stop too.
    left = 0;
  }
  return {
    operations: latencies.count,
    seconds: (performance.now() - begin) / 1_000,
    p50Ms: latencies.percentile(50) / 1_000,
    p99Ms: latencies.percentile(99) / 1_000,
  };
}

serveParent(openLoad);
