import { describe, inject } from "vitest";
import { openRedisBus } from "./fixtures/bus.ts";
import { describePokes } from "./pokes.suite.ts";

const redisUrl = inject("redisUrl");

describe.skipIf(redisUrl === null)("with a Redis", () => {
  describePokes("Redis", () => openRedisBus(redisUrl ?? ""));
});
