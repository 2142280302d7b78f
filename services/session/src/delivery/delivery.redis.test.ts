import { describe, inject } from "vitest";
import { describeDelivery } from "./delivery.suite.ts";

const redisUrl = inject("redisUrl");

describe.skipIf(redisUrl === null)("with a Redis", () => {
  describeDelivery("Redis", () => redisUrl ?? undefined);
});
