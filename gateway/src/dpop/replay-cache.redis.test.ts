import { createLogger } from "@continuo/process";
import { attempted, createSender, parseRedisUrl } from "@continuo/signals/redis";
import { startFaultProxy, targetOf, throughProxy } from "@continuo/testkit";
import { createHash, randomUUID } from "node:crypto";
import { describe, expect, inject, test } from "vitest";
import { startReplayCache } from "./replay-cache.ts";
import { describeReplayCache } from "./replay-cache.suite.ts";

const redisUrl = inject("redisUrl") ?? "";

describe.skipIf(redisUrl === "")("with a Redis", () => {
  describeReplayCache("Redis", async () => {
    const proxy = await startFaultProxy(targetOf(redisUrl, 6379));
    return {
      databaseUrl: "",
      redisUrl: throughProxy(redisUrl, proxy),
      proxy,
      [Symbol.asyncDispose]: () => proxy[Symbol.asyncDispose](),
    };
  });

  test("a replay cache over Redis keeps a key for its life", async () => {
    const logger = createLogger({ name: "replay-cache", level: "silent" });
    await using cache = await startReplayCache({ databaseUrl: "", redisUrl, logger });
    const key = randomUUID();
    await cache.reserve(key, 60_000);
    const redis = createSender(parseRedisUrl(redisUrl));
    await using _redis = { [Symbol.asyncDispose]: async () => redis.disconnect() };
    await attempted(redis);
    const leftMs = await redis.pttl(`continuo:once:${createHash("sha256").update(key).digest("base64url")}`);
    expect(leftMs).toBeGreaterThan(0);
    expect(leftMs).toBeLessThanOrEqual(60_000);
  });
});
