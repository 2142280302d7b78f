import { createLogger } from "@continuo/process";
import { expect, it } from "vitest";
import { createExpireSessions, type Expired } from "./expire-sessions.jobs.ts";

/** Runs the job on batches of which each has `[found, ended]`; resolves to how many it asked for. */
async function batchesAskedFor(...batches: [found: number, ended: number][]): Promise<number> {
  let asked = 0;
  const now = new Date();
  const expire = createExpireSessions({
    store: {
      async expire(_now, count): Promise<Expired> {
        const [found, ended] = batches[asked++] ?? [];
        if (found === undefined || ended === undefined) throw new Error("it asks on and on");
        expect(found).toBeLessThanOrEqual(count);
        return { found, ended, logged: null, users: [] };
      },
    },
    announce: { revoked: async () => undefined, devicesChanged: async () => undefined },
    now: () => now,
  });
  const logger = createLogger({ name: "test", level: "silent" });
  await expire({}, { jobId: "1", attempt: 1, signal: new AbortController().signal, logger });
  return asked;
}

it("expires batch after batch until none is left, or those that are left are all being changed", async () => {
  expect(await batchesAskedFor([200, 200], [200, 3], [7, 7])).toBe(3);
  expect(await batchesAskedFor([200, 200], [200, 0])).toBe(2);
});
