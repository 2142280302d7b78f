import { describe, inject } from "vitest";
import { openRedisBus } from "./fixtures/bus.ts";
import { describeJobs } from "./jobs.suite.ts";

const redisUrl = inject("redisUrl");

describe.skipIf(redisUrl === null)("with a Redis", () => {
  describeJobs("Redis", () => openRedisBus(redisUrl ?? ""));
});
