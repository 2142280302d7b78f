import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { joinExtrema } from "./extremum.ts";
import { replicaId } from "./history.fixture.ts";
import { max } from "./max.ts";
import { min } from "./min.ts";
import type { ExtremumState } from "./state.ts";

const states: fc.Arbitrary<ExtremumState> = fc.record({
  standing: fc.option(
    fc
      .record({ ms: fc.nat(5), counter: fc.nat(2), clientId: fc.nat(2).map((index) => replicaId(index)) })
      .map((stamp) => ({ value: ((stamp.ms * 7 + stamp.counter * 3 + stamp.clientId.charCodeAt(7)) % 5) - 2, stamp })),
  ),
});

const isMore = (value: number, than: number): boolean => value > than;
const isLess = (value: number, than: number): boolean => value < than;

describe.each([
  { kind: max, isBetter: isMore, best: Math.max },
  { kind: min, isBetter: isLess, best: Math.min },
])("$kind.name", ({ kind, isBetter, best }) => {
  const join = (left: ExtremumState, right: ExtremumState): ExtremumState => joinExtrema(left, right, isBetter);

  it("joins the same whatever the side, the grouping and the number of times", () => {
    fc.assert(
      fc.property(states, states, states, (a, b, c) => {
        expect(join(a, a)).toEqual(a);
        expect(join(a, b)).toEqual(join(b, a));
        expect(join(join(a, b), c)).toEqual(join(a, join(b, c)));
      }),
    );
  });

  it("only moves one way", () => {
    fc.assert(
      fc.property(fc.array(fc.double({ noNaN: true, noDefaultInfinity: true }), { minLength: 1 }), (values) => {
        const state = values.reduce(
          (sum, value, ms) => kind.apply(sum, { type: "SET", value }, at(ms)).state,
          kind.initial,
        );
        expect(kind.view(state)).toBe(best(...values) + 0);
      }),
    );
  });

  it("of two equal numbers keeps the one written first, and says that nothing changed", () => {
    const early = kind.apply(kind.initial, { type: "SET", value: 9 }, at(1)).state;
    expect(kind.apply(early, { type: "SET", value: 9 }, at(2))).toEqual({ outcome: "NOOP", state: early, losers: [] });
  });

  it("says what did not get through", () => {
    const state = kind.apply(kind.initial, { type: "SET", value: 9 }, at(1)).state;
    const worse = kind === max ? 8 : 10;
    expect(kind.apply(state, { type: "SET", value: worse }, at(2))).toMatchObject({
      outcome: "MERGED",
      losers: [{ value: worse }],
    });
  });
});

function at(ms: number): Parameters<typeof max.apply>[2] {
  return { stamp: { ms, counter: 0, clientId: replicaId(0) }, seen: null, deviceId: "", baseRev: 0, rev: 1 };
}
