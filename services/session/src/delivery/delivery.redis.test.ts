import { Redis } from "ioredis";
import { describe, inject } from "vitest";
import { describeDelivery } from "./delivery.suite.ts";

const redisUrl = inject("redisUrl");

describe.skipIf(redisUrl === null)("with a Redis", () => {
  // A numbered database of its own, to empty.
  const address = new URL("/7", redisUrl ?? "redis://127.0.0.1").href;
  describeDelivery(
    "Redis",
    () => address,
    async () => {
      const redis = new Redis(address);
      await redis.flushdb();
      redis.disconnect();
    },
  );
});
