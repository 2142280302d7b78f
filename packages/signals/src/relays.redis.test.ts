import { describe, inject } from "vitest";
import { openRedisBus } from "./fixtures/bus.ts";
import { describeRelays } from "./relays.suite.ts";

const redisUrl = inject("redisUrl");

describe.skipIf(redisUrl === null)("with a Redis", () => {
  describeRelays("Redis", () => openRedisBus(redisUrl ?? ""));
});
