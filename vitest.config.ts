import { createRequire } from "node:module";
import { defineConfig } from "vitest/config";

/**
 * What a test needs is in its suffix: `.test.ts` nothing but loopback, `.pg.test.ts` Postgres, `.redis.test.ts` Redis,
 * `.e2e.test.ts` whole processes.
 */
const ignored = ["**/node_modules/**", "**/.data/**"];

/** graphql is entered as Node enters it: Vite would take its `module` file, and so a second, foreign copy. */
const resolve = { alias: [{ find: /^graphql$/, replacement: createRequire(import.meta.url).resolve("graphql") }] };

/**
 * They end what hangs. How long it takes until something holds is no test's business, on a machine that has much else to do
 * least of all.
 */
const patience = { testTimeout: 180_000, hookTimeout: 180_000, expect: { poll: { timeout: 60_000, interval: 20 } } };

/**
 * Three processes for all files, which share what those have loaded: a process each took longer to start than most files run,
 * and on two processors two leave a third of the time unused, as much of what is tested waits.
 * So a file leaves nothing behind in its process; spies are taken away after each test.
 */
const sharing = { isolate: false, maxWorkers: 3, restoreMocks: true };

export default defineConfig({
  test: {
    // Once for all projects: they share one server of each.
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
          // After the unit tests, which know sooner.
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
          // Whole systems in processes of their own: one at a time on a small machine.
          fileParallelism: false,
        },
      },
    ],
  },
});
