import type { TestProject } from "vitest/node";

/** Whether a run includes more than unit tests, which need neither Postgres nor Redis. */
export function needsServers({ vitest }: TestProject): boolean {
  return vitest.projects.some(({ name }) => name !== "unit");
}
