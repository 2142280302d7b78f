import fc from "fast-check";
import { describe, expect, it } from "vitest";
import * as z from "zod";
import { fits } from "./fits.fixture.ts";
import { register } from "./define.ts";
import { narrowings } from "./narrowing.ts";
import { pairs, values } from "./schema.fixture.ts";

/** `path why` of each way in which the second takes less. */
function narrower(before: z.ZodType, after: z.ZodType): string[] {
  return narrowings(register(before).schema, register(after).schema, "f", fits).map(
    ({ path, why }) => `${path} ${why}`,
  );
}

describe("a schema takes all that another took", () => {
  const address = z.object({ street: z.string() });
  it.each<[string, z.ZodType, z.ZodType]>([
    ["with a wider choice", z.enum(["a", "b"]), z.enum(["a", "b", "c"])],
    ["with any text instead of a choice", z.enum(["a"]), z.string()],
    ["with a member that may be missing", address, address.extend({ zip: z.string().optional() })],
    ["with a member that may be missing now", address, address.partial()],
    ["with longer text", z.string().max(3), z.string().max(9)],
    ["with a larger range", z.int().min(0).max(5), z.number().min(-1).max(9)],
    ["with null", z.string(), z.string().nullable()],
    ["with one more alternative", z.union([z.string(), z.null()]), z.union([z.null(), z.number(), z.string()])],
    ["as anything", z.array(address), z.json()],
    ["with wider elements", z.array(z.int()), z.array(z.number())],
    ["with wider members", z.record(z.string(), z.int()), z.record(z.string(), z.number())],
    ["with another description", z.string(), z.string().describe("words")],
  ])("%s", (_, before, after) => {
    expect(narrower(before, after)).toEqual([]);
  });

  const tree = (leaf: z.ZodType): z.ZodType => {
    const node: z.ZodType = z.lazy(() => z.object({ leaf, children: z.array(node) }));
    return node;
  };
  it("also where it holds itself", () => {
    expect(narrower(tree(z.int()), tree(z.number()))).toEqual([]);
    expect(narrower(tree(z.number()), tree(z.int()))).toEqual([
      "f.leaf takes only integer, was number",
      expect.anything(),
      expect.anything(),
    ]);
  });
});

describe("what is taken no more is said by its path", () => {
  it.each<[string, z.ZodType, z.ZodType, string]>([
    ["a narrower choice", z.enum(["a", "b"]), z.enum(["a"]), 'f no longer takes "b"'],
    ["a choice instead of text", z.string(), z.enum(["a"]), 'f takes only ["a"], was more'],
    ["another type", z.object({ a: z.string() }), z.object({ a: z.number() }), "f.a takes only number, was string"],
    ["a member that must be there", z.object({}), z.object({ a: z.string() }), "f.a must be there now"],
    ["a member that is gone", z.object({ a: z.int().optional() }), z.object({}), "f.a is no longer taken"],
    ["shorter text", z.array(z.string()), z.array(z.string().max(3)), "f[] has another maxLength: 3"],
    ["a smaller range", z.number().max(9), z.number().max(8), "f takes nothing above 8 any more"],
    ["null", z.string().nullable(), z.string(), "f takes only string, was null"],
    ["a pattern", z.string(), z.string().regex(/^a/), "f has another pattern: ^a"],
    ["another tuple", z.tuple([z.int()]), z.tuple([z.string()]), "f is another tuple"],
  ])("%s", (_, before, after, expected) => {
    expect(narrower(before, after)).toContain(expected);
  });
});

it("whatever was valid stays valid where nothing was found narrower", () => {
  let shown = 0;
  fc.assert(
    fc.property(pairs, fc.array(values, { minLength: 5, maxLength: 20 }), ([before, after], some) => {
      if (narrowings(before, after, "f", fits).length > 0) return;
      for (const value of some) {
        if (!fits(before, value)) continue;
        shown += 1;
        expect(fits(after, value)).toBe(true);
      }
    }),
    { numRuns: 300 },
  );
  expect(shown).toBeGreaterThan(100);
});
