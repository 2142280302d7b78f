import { expect, test } from "vitest";
import { createCounter, createGauge, createHealth, measureOperations, metrics, startHealthPort } from "./index.ts";
import { createHistogram } from "./metrics.ts";

/** The lines of one metric, without comments. */
async function linesOf(name: string): Promise<string[]> {
  return (await metrics.text()).split("\n").filter((line) => line.startsWith(name) && !line.startsWith("#"));
}

test("a process tells what it counts, and what Node measures, on its health port", async () => {
  const count = createCounter("continuo_test_things_total", "Things.", ["shape"]);
  count({ shape: "round" });
  count({ shape: "round" });
  await using port = await startHealthPort({ host: "127.0.0.1", port: 0, health: createHealth() });
  const answer = await fetch(`http://127.0.0.1:${port.port}/metrics`);
  expect(answer.headers.get("content-type")).toContain("text/plain; version=0.0.4");
  const text = await answer.text();
  expect(text).toContain('continuo_test_things_total{shape="round"} 2');
  expect(text).toContain("# TYPE continuo_test_things_total counter");
  expect(text).toMatch(/^nodejs_eventloop_lag_p99_seconds /m);
});

test("a duration is given in milliseconds, and told in seconds", async () => {
  createHistogram("continuo_test_wait_seconds", "A wait.", ["kind"])({ kind: "long" }, 1_500);
  const lines = await linesOf("continuo_test_wait_seconds");
  expect(lines).toContain('continuo_test_wait_seconds_bucket{le="1",kind="long"} 0');
  expect(lines).toContain('continuo_test_wait_seconds_bucket{le="2.5",kind="long"} 1');
});

test("an operation is in flight until it is told what came of it", async () => {
  const name = "test-service";
  using operations = measureOperations(name);
  const ends = [operations.begin(), operations.begin()];
  expect(await linesOf("continuo_operations_in_flight")).toContain(
    `continuo_operations_in_flight{service="${name}"} 2`,
  );
  for (const end of ends) end("query", "NOT_FOUND");
  expect(await linesOf("continuo_operations_in_flight")).toContain(
    `continuo_operations_in_flight{service="${name}"} 0`,
  );
  const labels = `service="${name}",kind="query",outcome="NOT_FOUND"`;
  const lines = await linesOf("continuo_operation_duration_seconds");
  expect(lines).toContain(`continuo_operation_duration_seconds_bucket{le="10",${labels}} 2`);
  expect(lines).toContain(`continuo_operation_duration_seconds_count{${labels}} 2`);
});

test("a level is read when somebody asks; what fails or hangs is left out, and what has ended is gone", async () => {
  const level = createGauge("continuo_test_level", "A level.", ["part"]);
  using _failing = level.watch(() => {
    throw new Error("away");
  });
  using _hanging = level.watch(() => new Promise(() => undefined));
  const first = level.watch(() => [[{ part: "a" }, 2]]);
  using _second = level.watch(async () => [
    [{ part: "a" }, 3],
    [{ part: "b" }, Number.POSITIVE_INFINITY],
  ]);
  expect(await linesOf("continuo_test_level")).toEqual([
    'continuo_test_level{part="a"} 5',
    'continuo_test_level{part="b"} +Inf',
  ]);
  first[Symbol.dispose]();
  expect(await linesOf("continuo_test_level")).toContain('continuo_test_level{part="a"} 3');
});
