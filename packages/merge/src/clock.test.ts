import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { nextInstant, shiftInstant } from "./clock.ts";
import { effectiveStamp } from "./effective-stamp.ts";
import { compareInstants, MAX_COUNTER, type Instant } from "./stamp.ts";

const NOON = Date.UTC(2026, 10, 24, 12);

describe("the clock of a replica", () => {
  it("never stands still or goes back, whatever the device's clock does", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(1_000)), (times) => {
        let last: Instant | null = null;
        for (const now of times) {
          const next = nextInstant(last, now);
          expect(compareInstants(next, last ?? { ms: -1, counter: 0 })).toBeGreaterThan(0);
          expect(next.ms).toBeGreaterThanOrEqual(now);
          expect(next.counter).toBeLessThanOrEqual(MAX_COUNTER);
          last = next;
        }
      }),
    );
  });

  it("takes the device's time when it can", () => {
    expect(nextInstant({ ms: 1, counter: 9 }, 2)).toEqual({ ms: 2, counter: 0 });
    expect(nextInstant({ ms: 2, counter: 9 }, 2)).toEqual({ ms: 2, counter: 10 });
    expect(nextInstant({ ms: 2, counter: MAX_COUNTER }, 2)).toEqual({ ms: 3, counter: 0 });
  });

  it("set while changes wait is put right by shifting them: their age and their order stay", () => {
    fc.assert(
      fc.property(fc.integer({ min: -3_600_000, max: 3_600_000 }), fc.nat(3_600_000), (jump, age) => {
        const queued = [
          { ms: NOON - age, counter: 0 },
          { ms: NOON - age, counter: 1 },
        ];
        const [first, second] = queued.map((instant) =>
          effectiveStamp(
            { ...shiftInstant(instant, jump), clientId: "a" },
            { clientNow: NOON + jump, serverNow: NOON, seen: null, standing: [] },
          ),
        );
        expect(first).toEqual({ ms: NOON - age, counter: 0, clientId: "a" });
        expect(second).toEqual({ ms: NOON - age, counter: 1, clientId: "a" });
      }),
    );
  });
});
