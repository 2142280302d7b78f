import { array, assert, double, property } from "fast-check";
import { describe, expect, test } from "vitest";
import { measuresOf, median, ratioOf, spread, spreadOf, takeTurns, type Series, type Turn } from "./measure.ts";

const series = (name: string, ...values: number[]): Series => ({
  name,
  turns: values.map((value) => ({ "ops/s": value })),
});
const finite = double({ min: 1e-3, max: 1e6, noNaN: true });

describe("a median", () => {
  test.each([
    [[7], 7],
    [[3, 1, 2], 2],
    [[4, 1, 3, 2], 2.5],
    [[1, 1, 1, 1_000], 1],
  ])("of %j is %d", (values, expected) => expect(median(values)).toBe(expected));

  test("does not depend on the order of the values, and leaves them as they were", () =>
    assert(
      property(array(finite, { minLength: 1 }), (values) => {
        const before = [...values];
        expect(median(values.toReversed())).toBe(median(values));
        expect(values).toEqual(before);
      }),
    ));

  test("of nothing is refused", () => expect(() => median([])).toThrow(RangeError));
});

describe("a spread", () => {
  test("is the median between the extremes", () =>
    assert(
      property(array(finite, { minLength: 1 }), (values) => {
        const { low, median: middle, high } = spread(values);
        expect(low).toBeLessThanOrEqual(middle);
        expect(middle).toBeLessThanOrEqual(high);
        expect(values).toContain(low);
        expect(values).toContain(high);
      }),
    ));

  test("of a measure that one turn lacks is not made up", () => {
    const patchy: Series = { name: "ours", turns: [{ "ops/s": 1, "CPU µs": 9 }, { "ops/s": 2 }] };
    expect(spreadOf(patchy, "CPU µs")).toBeUndefined();
    expect(spreadOf(patchy, "ops/s")).toEqual({ low: 1, median: 1.5, high: 2 });
    expect(measuresOf(patchy, series("other", 1))).toEqual(["ops/s", "CPU µs"]);
  });
});

describe("a ratio", () => {
  test("is taken round by round, so that a slow round of the machine cancels out", () => {
    // In the second round the machine was ten times slower, for both.
    expect(ratioOf(series("ours", 50, 5, 50), series("yardstick", 100, 10, 100), "ops/s")).toEqual({
      low: 0.5,
      median: 0.5,
      high: 0.5,
    });
  });

  test("of medians would differ: each round has its own", () => {
    expect(ratioOf(series("ours", 1, 6, 9), series("yardstick", 2, 2, 9), "ops/s")).toEqual({
      low: 0.5,
      median: 1,
      high: 3,
    });
  });

  test("of something to itself times k is k", () =>
    assert(
      property(array(finite, { minLength: 1 }), finite, (values, k) => {
        const found = ratioOf(series("ours", ...values.map((value) => value * k)), series("same", ...values), "ops/s");
        expect(found?.median).toBeCloseTo(k, 3);
      }),
    ));

  test("to a yardstick of nothing, or without the measure, is not a number we print", () => {
    expect(ratioOf(series("ours", 1), series("yardstick", 0), "ops/s")).toBeUndefined();
    expect(ratioOf(series("ours", 1), series("yardstick", 1), "CPU µs")).toBeUndefined();
  });

  test("of unequal numbers of turns is refused", () =>
    expect(() => ratioOf(series("ours", 1, 2), series("yardstick", 1), "ops/s")).toThrow(RangeError));
});

describe("turns", () => {
  test("go round: A B A B, the first three rounds uncounted", async () => {
    const order: string[] = [];
    const turn = async ({ name }: { name: string }): Promise<Turn> => {
      order.push(name);
      return { "ops/s": order.length };
    };
    const found = await takeTurns([{ name: "A" }, { name: "B" }], 2, turn, async () => void order.push("settled"));
    expect(order.join(" ")).toBe("A B settled A B A B A B A B");
    expect(found).toEqual([series("A", 8, 10), series("B", 9, 11)]);
  });

  test("end with the first that fails", async () => {
    let taken = 0;
    const failing = takeTurns([{ name: "A" }, { name: "B" }], 5, async () => {
      taken += 1;
      if (taken === 4) throw new Error("refused");
      return {};
    });
    await expect(failing).rejects.toThrow("refused");
    expect(taken).toBe(4);
  });
});
