import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { effectiveStamp } from "./effective-stamp.ts";
import { compareInstants, compareStamps, MAX_COUNTER, type Instant, type Stamp } from "./stamp.ts";

const PHONE = "a0000000-0000-4000-8000-000000000000";
const LAPTOP = "b0000000-0000-4000-8000-000000000000";
const DAY_MS = 86_400_000;
const NOON = Date.UTC(2026, 10, 24, 12);

/** Nothing stands and nothing was seen. */
const NOTHING = { clientNow: NOON, serverNow: NOON, seen: null, standing: [] };

const skews = fc.integer({ min: -2 * DAY_MS, max: 2 * DAY_MS });
const instants: fc.Arbitrary<Instant> = fc.record({
  ms: fc.integer({ min: 0, max: NOON }),
  counter: fc.integer({ min: 0, max: MAX_COUNTER }),
});

describe("the effective stamp", () => {
  it("is the true time of writing, however wrong the author's clock is", () => {
    fc.assert(
      fc.property(skews, fc.nat(DAY_MS), (skew, age) => {
        const clientNow = NOON + skew;
        const stamp = { ms: clientNow - age, counter: 3, clientId: PHONE };
        expect(effectiveStamp(stamp, { ...NOTHING, clientNow })).toEqual({ ...stamp, ms: NOON - age });
      }),
    );
  });

  it("orders two authors by true time, whatever their clocks say", () => {
    fc.assert(
      fc.property(skews, skews, fc.nat(DAY_MS), fc.integer({ min: 1, max: DAY_MS }), (phone, laptop, age, older) => {
        const later = written(PHONE, phone, age);
        const earlier = written(LAPTOP, laptop, age + older);
        expect(compareStamps(later, earlier)).toBeGreaterThan(0);
      }),
    );
  });

  it("is never later than the server's clock, also when the author's clock was set back after writing", () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), fc.maxSafeNat(), instants, (ms, clientNow, standing) => {
        const { ms: effective } = effectiveStamp(
          { ms, counter: 0, clientId: PHONE },
          {
            clientNow,
            serverNow: NOON,
            seen: { ms: Number.MAX_SAFE_INTEGER, counter: 0 },
            standing: [by(LAPTOP, standing)],
          },
        );
        const overflow = standing.ms === NOON && standing.counter === MAX_COUNTER ? 1 : 0;
        expect(effective).toBeGreaterThanOrEqual(0);
        expect(effective).toBeLessThanOrEqual(NOON + overflow);
      }),
    );
  });

  it("is later than what the author had seen, whatever the clocks say", () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), fc.maxSafeNat(), instants, (ms, clientNow, standing) => {
        const stamp = { ms, counter: 0, clientId: PHONE };
        const moment = { clientNow, serverNow: NOON, seen: standing, standing: [by(LAPTOP, standing)] };
        expect(compareInstants(effectiveStamp(stamp, moment), standing)).toBeGreaterThan(0);
      }),
    );
  });

  it("is later than the author's own standing write, said or not", () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), fc.maxSafeNat(), instants, (ms, clientNow, own) => {
        const stamp = { ms, counter: 0, clientId: PHONE };
        const effective = effectiveStamp(stamp, { ...NOTHING, clientNow, standing: [by(PHONE, own)] });
        expect(compareInstants(effective, own)).toBeGreaterThan(0);
      }),
    );
  });

  it("is later than the author's own write that stands beside a later one of somebody else", () => {
    const standing = [by(LAPTOP, { ms: NOON, counter: 0 }), by(PHONE, { ms: NOON - 1_000, counter: 7 })];
    const effective = effectiveStamp({ ms: NOON - 2_000, counter: 0, clientId: PHONE }, { ...NOTHING, standing });
    expect(effective).toEqual({ ms: NOON - 1_000, counter: 8, clientId: PHONE });
  });

  it("is not raised for having seen less than what stands", () => {
    const standing = by(LAPTOP, { ms: NOON, counter: 0 });
    const moment = { clientNow: NOON, serverNow: NOON, seen: { ms: NOON - 5_000, counter: 0 }, standing: [standing] };
    const effective = effectiveStamp({ ms: NOON - 10_000, counter: 0, clientId: PHONE }, moment);
    expect(effective).toEqual({ ms: NOON - 5_000, counter: 1, clientId: PHONE });
    expect(compareStamps(effective, standing)).toBeLessThan(0);
  });

  it("moves on to the next millisecond when the counter is full", () => {
    const standing = by(PHONE, { ms: NOON, counter: MAX_COUNTER });
    const stamp = { ms: NOON, counter: 0, clientId: PHONE };
    expect(effectiveStamp(stamp, { ...NOTHING, standing: [standing] })).toEqual({
      ms: NOON + 1,
      counter: 0,
      clientId: PHONE,
    });
  });
});

function written(clientId: string, skew: number, age: number): Stamp {
  const clientNow = NOON + skew;
  return effectiveStamp({ ms: clientNow - age, counter: 0, clientId }, { ...NOTHING, clientNow });
}

function by(clientId: string, instant: Instant): Stamp {
  return { ...instant, clientId };
}
