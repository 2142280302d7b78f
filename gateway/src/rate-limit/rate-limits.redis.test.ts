import { createLogger } from "@continuo/process";
import { randomUUID } from "node:crypto";
import { describe, expect, inject, it } from "vitest";
import { openRateLimits } from "./rate-limits.ts";
import { rateLimitsSuite } from "./rate-limits.suite.ts";

const redisUrl = inject("redisUrl") ?? "";

const logger = createLogger({ name: "test", level: "silent" });
const rates = { operationsPerSession: 4, operationsPerNetwork: 0, connectionsPerSession: 0 };

describe.skipIf(redisUrl === "")("with a Redis", () => {
  rateLimitsSuite(() => redisUrl);

  it("counts for all replicas together", async () => {
    await using one = await openRateLimits({ rates, redisUrl, logger });
    await using other = await openRateLimits({ rates, redisUrl, logger });
    const sessionId = randomUUID();
    for (const replica of [one, other, one, other]) await replica.operation({ sessionId });
    for (const replica of [one, other])
      await expect(replica.operation({ sessionId })).rejects.toMatchObject({ reason: "SESSION_RATE" });
  });

  it("counts for each replica alone while Redis is away, and refuses nobody for that", async () => {
    await using alone = await openRateLimits({ rates, redisUrl: "redis://127.0.0.1:1", logger });
    const sessionId = randomUUID();
    for (let asked = 0; asked < 4; asked += 1) await alone.operation({ sessionId });
    await expect(alone.operation({ sessionId })).rejects.toMatchObject({ reason: "SESSION_RATE" });
  });
});
