import * as fc from "fast-check";
import { expect, it } from "vitest";
import { counter } from "./counter.ts";
import { fold, histories } from "./history.fixture.ts";
import { payloads } from "./payload.fixture.ts";

it("a counter is the sum of its deltas", () => {
  fc.assert(
    fc.property(histories(counter, payloads.COUNTER), ({ rounds }) => {
      const ops = rounds.flat();
      const sum = ops.reduce((total, { payload }) => total + payload.delta, 0);
      expect(counter.view(fold(counter, ops).state)).toBe(sum);
    }),
  );
});

it("a counter counts no further than it can count exactly", () => {
  const full = { value: Number.MAX_SAFE_INTEGER };
  const context = { stamp: { ms: 0, counter: 0, clientId: "" }, seen: null, deviceId: "", baseRev: 0, rev: 1 };
  expect(counter.apply(full, { type: "ADD", delta: 1 }, context)).toEqual({
    outcome: "REJECTED",
    reason: "COUNTER_OVERFLOW",
    state: full,
    losers: [],
  });
  expect(counter.apply(full, { type: "ADD", delta: -1 }, context).outcome).toBe("APPLIED");
});
