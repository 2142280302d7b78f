/**
 * What a process counts and measures, in the text format that Prometheus and OpenTelemetry collectors read. One registry a
 * process, whichever rooms it has. A label's values are ours and few: what a client sends (names, ids) is for the logs.
 */
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from "prom-client";

const registry = new Registry();

/** As OpenTelemetry's semantic conventions advise for durations. Seconds. */
const BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10];
/** A reading that takes longer is left out: a queue that is away must not take the other metrics with it. */
const READ_WITHIN_MS = 1_000;

export type Labels = Readonly<Record<string, string>>;

/** Counts what happens. Prometheus' names end in `_total`. */
export function createCounter<Label extends string>(
  name: `continuo_${string}_total`,
  help: string,
  labelNames: readonly Label[],
): (labels: Readonly<Record<Label, string>>) => void {
  const counter = new Counter({ name, help, labelNames: [...labelNames], registers: [registry] });
  return (labels) => counter.inc(labels, 1);
}

/** Measures durations; it is given milliseconds, and tells seconds. */
export function createHistogram<Label extends string>(
  name: `continuo_${string}_seconds`,
  help: string,
  labelNames: readonly Label[],
): (labels: Readonly<Record<Label, string>>, ms: number) => void {
  const histogram = new Histogram({ name, help, labelNames: [...labelNames], buckets: BUCKETS, registers: [registry] });
  return (labels, ms) => histogram.observe(labels, ms / 1_000);
}

export type Readings = readonly (readonly [labels: Labels, value: number])[];

/** What is read when somebody asks. Readings of the same labels, in one process, are added up. */
export interface LiveGauge {
  /** Takes part until disposed of. A reading that fails, or takes longer than a second, is left out. */
  watch(read: () => Readings | Promise<Readings>): Disposable;
}

/** Reads a level. */
export function createGauge(name: `continuo_${string}`, help: string, labelNames: readonly string[]): LiveGauge {
  const readers = new Set<() => Readings | Promise<Readings>>();
  const gauge = new Gauge({
    name,
    help,
    labelNames: [...labelNames],
    registers: [registry],
    async collect() {
      const read = await Promise.all([...readers].map((reader) => within(READ_WITHIN_MS, reader)));

      gauge.reset();
      for (const [labels, value] of read.flat()) gauge.inc(labels, value);
    },
  });
  return {
    watch(reader) {
      // Each is one of its own, also when the same function watches twice.
      const read = (): Readings | Promise<Readings> => reader();
      readers.add(read);
      return { [Symbol.dispose]: () => void readers.delete(read) };
    },
  };
}

async function within(ms: number, read: () => Readings | Promise<Readings>): Promise<Readings> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<Readings>((resolve) => {
    timer = setTimeout(() => resolve([]), ms);
  });
  try {
    return await Promise.race([read(), late]);
  } catch {
    return [];
  } finally {
    clearTimeout(timer);
  }
}

/** The answer to `GET /metrics`: everything that this process measures, Node's own numbers (event loop, memory) among it. */
export const metrics = {
  contentType: registry.contentType,
  async text(): Promise<string> {
    // Once somebody asks: watching the event loop and the garbage collector costs a little.
    startNodeMetrics();
    return registry.metrics();
  },
};

let isWatchingNode = false;

function startNodeMetrics(): void {
  if (isWatchingNode) return;
  isWatchingNode = true;
  collectDefaultMetrics({ register: registry });
}
