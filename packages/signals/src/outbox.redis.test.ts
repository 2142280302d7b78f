import { describe, inject } from "vitest";
import { openRedisBus } from "./fixtures/bus.ts";
import { describeOutbox } from "./outbox.suite.ts";

const redisUrl = inject("redisUrl");

describe.skipIf(redisUrl === null)("with a Redis", () => {
  describeOutbox("Redis", () => openRedisBus(redisUrl ?? ""));
});
