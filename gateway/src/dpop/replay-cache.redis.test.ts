import { startFaultProxy, targetOf, throughProxy } from "@continuo/testkit";
import { describe, inject } from "vitest";
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
});
