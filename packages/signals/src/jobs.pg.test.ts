import { expect, test } from "vitest";
import { openPostgresBus } from "./fixtures/bus.ts";
import { silent } from "./fixtures/settings.ts";
import { describeJobs } from "./jobs.suite.ts";
import { startJobs } from "./start-jobs.ts";

describeJobs("Postgres", openPostgresBus);

test("jobs over a Postgres that cannot be reached do not start", async () => {
  await using bus = await openPostgresBus();
  bus.proxy.down();
  await expect(startJobs({ ...bus, logger: silent })).rejects.toThrow("Connection terminated");
});
