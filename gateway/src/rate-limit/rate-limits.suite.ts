/** The tests that every backend of the rate limits must pass. */
import { createLogger } from "@continuo/process";
import { randomUUID } from "node:crypto";
import { describe, expect, it } from "vitest";
import { openRateLimits, type Rates } from "./rate-limits.ts";

const logger = createLogger({ name: "test", level: "silent" });
const RATES: Rates = { operationsPerSession: 3, operationsPerNetwork: 5, connectionsPerSession: 2 };

export function rateLimitsSuite(redisUrl: () => string | undefined): void {
  const open = (rates = RATES): ReturnType<typeof openRateLimits> =>
    openRateLimits({ rates, redisUrl: redisUrl(), logger });
  const outcome = (asked: Promise<void>): Promise<unknown> =>
    asked.then(
      () => "counted",
      (cause: unknown) => cause,
    );
  const refused = (reason: string): unknown =>
    expect.objectContaining({ code: "RATE_LIMITED", reason, details: { retryAfterMs: expect.any(Number) } });

  describe("a rate limit", () => {
    it("is of each session, and says when to come back", async () => {
      await using rates = await open();
      const sessionId = randomUUID();
      for (let asked = 0; asked < 3; asked += 1) await rates.operation({ sessionId });
      const refusal = await outcome(rates.operation({ sessionId }));
      expect(refusal).toEqual(refused("SESSION_RATE"));
      expect(refusal).toHaveProperty(
        "details.retryAfterMs",
        expect.toSatisfy((ms: number) => ms > 0 && ms <= 10_000),
      );
      expect(await outcome(rates.operation({ sessionId: randomUUID() }))).toBe("counted");
    });

    it("is of each network, whoever asks from there", async () => {
      await using rates = await open();
      const network = randomUUID();
      for (let asked = 0; asked < 5; asked += 1) await rates.operation({ sessionId: randomUUID(), network });
      expect(await outcome(rates.operation({ network }))).toEqual(refused("NETWORK_RATE"));
      expect(await outcome(rates.operation({}))).toBe("counted");
    });

    it("of connections is another than that of operations", async () => {
      await using rates = await open();
      const sessionId = randomUUID();
      for (let asked = 0; asked < 2; asked += 1) await rates.connection({ sessionId });
      expect(await outcome(rates.connection({ sessionId }))).toEqual(refused("CONNECTION_RATE"));
      expect(await outcome(rates.operation({ sessionId }))).toBe("counted");
    });

    it("of 0 is none", async () => {
      await using rates = await open({ operationsPerSession: 0, operationsPerNetwork: 0, connectionsPerSession: 0 });
      const asking = { sessionId: randomUUID(), network: randomUUID() };
      for (let asked = 0; asked < 50; asked += 1) expect(await outcome(rates.operation(asking))).toBe("counted");
    });
  });
}
