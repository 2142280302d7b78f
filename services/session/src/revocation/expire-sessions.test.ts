import { createLogger } from "@continuo/process";
import { expect, it } from "vitest";
import { createExpireSessions, type Expired } from "./expire-sessions.jobs.ts";

const NOTHING = { logged: null, users: [] };

/** Runs the job on batches; resolves to how many it asked for, and what it announced. */
async function expiring(...batches: Expired[]): Promise<{ asked: number; announced: unknown[] }> {
  let asked = 0;
  const announced: unknown[] = [];
  const now = new Date();
  const expire = createExpireSessions({
    store: {
      async expire(_now, count): Promise<Expired> {
        const batch = batches[asked++];
        if (batch === undefined) throw new Error("it asks on and on");
        expect(batch.found).toBeLessThanOrEqual(count);
        return batch;
      },
    },
    announce: {
      revoked: async ({ seq }) => void announced.push(seq),
      devicesChanged: async (...change) => void announced.push(change),
    },
    now: () => now,
  });
  const logger = createLogger({ name: "test", level: "silent" });
  await expire({}, { jobId: "1", attempt: 1, signal: new AbortController().signal, logger });
  return { asked, announced };
}

const batchesAskedFor = async (...batches: [found: number, ended: number][]): Promise<number> =>
  (await expiring(...batches.map(([found, ended]) => ({ found, ended, ...NOTHING })))).asked;

it("expires batch after batch until none is left, or those that are left are all being changed", async () => {
  expect(await batchesAskedFor([200, 200], [200, 3], [7, 7])).toBe(3);
  expect(await batchesAskedFor([200, 200], [200, 0])).toBe(2);
});

it("says what has expired as a sign-out does: to gateways, and to each person's devices", async () => {
  const users = [
    { userId: "ada", deviceRev: 3 },
    { userId: "alan", deviceRev: 5 },
  ];
  const { announced } = await expiring({ found: 2, ended: 2, logged: { seq: 7, posted: true }, users });
  expect(announced).toEqual([7, ["ada", 3], ["alan", 5]]);
});
