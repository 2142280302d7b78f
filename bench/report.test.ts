import { expect, test } from "vitest";
import { formatTable } from "./report.ts";

test("a table has a line a contender, then ours divided by each yardstick, and a dash for what nobody measured", () => {
  const table = formatTable({
    name: "refresh",
    what: "rotated",
    series: [
      {
        name: "continuo",
        turns: [
          { "ops/s": 1_500, "p99 ms": 8.25 },
          { "ops/s": 1_400, "p99 ms": 9 },
        ],
      },
      { name: "pg alone", turns: [{ "ops/s": 3_000 }, { "ops/s": 1_400 }] },
    ],
  });
  expect(table.split("\n")).toEqual([
    "refresh: rotated",
    "                                    ops/s          p99 ms",
    "continuo              1,450 (1,400–1,500)   8.6 (8.3–9.0)",
    "pg alone              2,200 (1,400–3,000)               –",
    "continuo ÷ pg alone      0.75 (0.50–1.00)               –",
    "",
  ]);
});
