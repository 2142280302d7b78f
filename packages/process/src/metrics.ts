/**
 * A process's metrics, in the text format that Prometheus and OpenTelemetry collectors read. One registry per process,
 * however many services run in it. Label values are few and chosen by us: what a client sends (names, ids) belongs in the logs.
 */
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from "prom-client";

const registry = new Registry();

/** The buckets that OpenTelemetry's semantic conventions recommend for durations. Seconds. */
const BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10];
/** A slower reading is left out: an unreachable queue must not take the other metrics with it. */
const READ_WITHIN_MS = 1_000;

export type Labels = Readonly<Record<string, string>>;

/** Counts events. Prometheus names of counters end in `_total`. */
export function createCounter<Label extends string>(
  name: `continuo_${string}_total`,
  help: string,
  labelNames: readonly Label[],
): (labels: Readonly<Record<Label, string>>) => void {
  const counter = new Counter({ name, help, labelNames: [...labelNames], registers: [registry] });
  return (labels) => counter.inc(labels, 1);
}

/** Measures durations; it takes milliseconds and reports seconds. */
export function createHistogram<Label extends string>(
  name: `continuo_${string}_seconds`,
  help: string,
  labelNames: readonly Label[],
): (labels: Readonly<Record<Label, string>>, ms: number) => void {
  const histogram = new Histogram({ name, help, labelNames: [...labelNames], buckets: BUCKETS, registers: [registry] });
  return (labels, ms) => histogram.observe(labels, ms / 1_000);
}

export type Readings = readonly (readonly [labels: Labels, value: number])[];

/** A gauge read on collection. Readings with the same labels, in one process, are added up. */
export interface LiveGauge {
  /** Included until disposed. A reading that fails, or takes longer than a second, is left out. */
  watch(read: () => Readings | Promise<Readings>): Disposable;
}

/** A gauge of a current level. */
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
      // A separate function each time, so that watching twice with the same one counts twice.
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

/** The answer to `GET /metrics`: everything this process measures, including Node's own numbers (event loop, memory). */
export const metrics = {
  contentType: registry.contentType,
  async text(): Promise<string> {
    // Started on first use: watching the event loop and the garbage collector has a cost.
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
