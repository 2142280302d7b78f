/** How many operations a server answers, how long each takes and its outcome: the same for gateway and subgraphs. */
import { createGauge, createHistogram } from "./metrics.ts";

const observe = createHistogram(
  "continuo_operation_duration_seconds",
  "How long GraphQL operations took, by service, kind and outcome (OK, or the gravest error's code).",
  ["service", "kind", "outcome"],
);
const inFlight = createGauge("continuo_operations_in_flight", "GraphQL operations that are being answered.", [
  "service",
]);

export type OperationKind = "query" | "mutation" | "subscription" | "none";

export interface OperationMetrics extends Disposable {
  /** An operation begins. Call the result once, with its kind (`none` if never known) and its outcome. */
  begin(): (kind: OperationKind, outcome: string) => void;
}

/** The metrics of one server, named `service`. */
export function measureOperations(service: string): OperationMetrics {
  let count = 0;
  const watching = inFlight.watch(() => [[{ service }, count]]);
  return {
    begin() {
      const startedAt = performance.now();
      count += 1;
      return (kind, outcome) => {
        count -= 1;
        observe({ service, kind, outcome }, performance.now() - startedAt);
      };
    },
    [Symbol.dispose]: () => watching[Symbol.dispose](),
  };
}
