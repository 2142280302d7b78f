import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isPosition, MAX_POSITION_CHARACTERS, positionAt, rebalance } from "./position.ts";

const random = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });

describe("a position", () => {
  it("sorts between those of its neighbours, with and without chance", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(), fc.boolean(), random), { maxLength: 60 }), (steps) => {
        const elements: { position: string }[] = [];
        for (const [index, byChance, chance] of steps) {
          const at = index % (elements.length + 1);
          const position = positionAt(elements, at, byChance ? () => chance : undefined);
          expect(isPosition(position)).toBe(true);
          elements.splice(at, 0, { position });
        }
        const positions = elements.map(({ position }) => position);
        expect(positions).toEqual([...new Set(positions)].sort());
      }),
    );
  });

  it("differs between two devices that fill the same gap, but for rare chance", () => {
    const elements = [{ position: "a0" }, { position: "a1" }];
    const seeded = (seed: number) => () => (seed = (seed * 16_807) % 2_147_483_647) / 2_147_483_647;
    for (const index of [0, 1, 2]) {
      const chosen = Array.from({ length: 100 }, (_, seed) => positionAt(elements, index, seeded(seed * 7919 + 1)));
      expect(new Set(chosen).size).toBeGreaterThan(95);
    }
  });

  it("does not grow by appending or prepending again and again", () => {
    const elements: { position: string }[] = [];
    for (let step = 0; step < 1_000; step += 1) {
      elements.push({ position: positionAt(elements, elements.length, Math.random) });
      elements.unshift({ position: positionAt(elements, 0, Math.random) });
    }
    expect(Math.max(...elements.map(({ position }) => position.length))).toBeLessThan(12);
  });

  it("behind elements that share one spot is behind all of them", () => {
    const elements = [{ position: "a0" }, { position: "a0" }, { position: "a1" }];
    const position = positionAt(elements, 1);
    expect(position > "a0" && position < "a1").toBe(true);
  });

  it("is one that others can go before, behind and between", () => {
    const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    const positions = fc.string({ unit: fc.constantFrom(...digits.split("")), maxLength: 8 }).filter(isPosition);
    fc.assert(
      fc.property(fc.uniqueArray(positions, { minLength: 2, maxLength: 2 }), random, (given, chance) => {
        const elements = given.sort().map((position) => ({ position }));
        const between = [0, 1, 2].map((index) => positionAt(elements, index, () => chance));
        const [low = "", high = ""] = given;
        const [before = "", middle = "", behind = ""] = between;
        expect([before, low, middle, high, behind]).toEqual([before, low, middle, high, behind].sort());
      }),
    );
  });

  it("is short again after a rebalance, in the same order", () => {
    const positions = rebalance(500);
    expect(positions).toHaveLength(500);
    expect([...positions].sort()).toEqual(positions);
    expect(Math.max(...positions.map(({ length }) => length))).toBeLessThan(5);
  });

  it.each(["", "a", "a00", "0", "a0!", "Z", "zz", "a0".padEnd(MAX_POSITION_CHARACTERS + 1, "x"), "A".padEnd(27, "0")])(
    "is not %j",
    (text) => {
      expect(isPosition(text)).toBe(false);
    },
  );
});
