import { createRequire } from "node:module";
import { defineConfig } from "vitest/config";

/**
 * A test's suffix says what it needs: `.test.ts` only loopback, `.pg.test.ts` Postgres, `.redis.test.ts` Redis,
 * `.e2e.test.ts` whole processes.
 */
const ignored = ["**/node_modules/**", "**/.data/**"];

/** Resolves graphql as Node does: Vite would take its `module` file, and so load a second, separate copy. */
const resolve = { alias: [{ find: /^graphql$/, replacement: createRequire(import.meta.url).resolve("graphql") }] };

/** Timeouts only end what hangs. No test depends on how long something takes, least of all on a busy machine. */
const patience = { testTimeout: 180_000, hookTimeout: 180_000, expect: { poll: { timeout: 60_000, interval: 20 } } };

/**
 * Three processes run all files and share loaded modules: one process per file took longer to start than most files
 * run, and since much of what is tested waits, two processes on two cores leave a third of the time idle. So a file
 * must leave nothing behind in its process; spies are restored after each test.
 */
const sharing = { isolate: false, maxWorkers: 3, restoreMocks: true };

export default defineConfig({
  test: {
    // Once for all projects, which share one server of each kind.
    globalSetup: ["packages/testkit/src/vitest-postgres.ts", "packages/testkit/src/vitest-redis.ts"],
    projects: [
      {
        resolve,
        test: {
          name: "unit",
          include: ["**/*.test.ts", "**/*.test.mjs"],
          exclude: [...ignored, "**/*.{pg,redis,e2e}.test.ts"],
          ...patience,
          ...sharing,
        },
      },
      {
        resolve,
        test: {
          name: "integration",
          include: ["**/*.pg.test.ts", "**/*.redis.test.ts"],
          exclude: ignored,
          ...patience,
          ...sharing,
          // After the unit tests, which fail sooner.
          sequence: { groupOrder: 1 },
        },
      },
      {
        resolve,
        test: {
          name: "e2e",
          include: ["**/*.e2e.test.ts"],
          exclude: ignored,
          testTimeout: 300_000,
          hookTimeout: 300_000,
          // Each starts whole systems in separate processes: one at a time on a small machine.
          fileParallelism: false,
        },
      },
    ],
  },
});
