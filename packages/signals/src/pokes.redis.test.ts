import { describe, expect, inject, test } from "vitest";
import { openRedisBus } from "./fixtures/bus.ts";
import { silent } from "./fixtures/settings.ts";
import { describePokes } from "./pokes.suite.ts";
import { createRedisListener } from "./redis-listener.ts";
import { parseRedisUrl } from "./redis.ts";

const redisUrl = inject("redisUrl");

describe.skipIf(redisUrl === null)("with a Redis", () => {
  describePokes("Redis", () => openRedisBus(redisUrl ?? ""));

  test("that refuses the password, the reason is told", async () => {
    const url = new URL(redisUrl ?? "");
    url.username = "nobody";
    url.password = "wrong";
    const listener = createRedisListener({
      target: parseRedisUrl(url.href),
      prefix: "",
      topics: () => [],
      hear: () => undefined,
      logger: silent,
    });
    await expect(listener.open()).rejects.toThrow("WRONGPASS");
  });
});
