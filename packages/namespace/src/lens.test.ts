import { applyOp, KINDS, type Json } from "@continuo/merge";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import * as z from "zod";
import { compareDefinitions } from "./compatibility.ts";
import { defineNamespace, register } from "./define.ts";
import type { FieldDefinition, NamespaceDefinition } from "./definition.ts";
import { fits } from "./fits.fixture.ts";
import { lensFor, liftPayload, liftState, liftValue, LensStep } from "./lens.ts";
import { schemas, values } from "./schema.fixture.ts";

const always = (): boolean => true;
const step = (given: z.input<typeof LensStep>): LensStep => LensStep.parse(given);

const NAMES = ["a", "b", "c"];
const paths = fc.array(fc.constantFrom(...NAMES), { minLength: 0, maxLength: 2 });
const steps: fc.Arbitrary<LensStep> = fc.oneof(
  fc.record({
    step: fc.constant("RENAME" as const),
    field: fc.constant("f"),
    path: fc.array(fc.constantFrom(...NAMES), { minLength: 1, maxLength: 2 }),
    to: fc.constantFrom(...NAMES, "d"),
  }),
  fc.record({
    step: fc.constant("DROP" as const),
    field: fc.constant("f"),
    path: fc.array(fc.constantFrom(...NAMES), { minLength: 1, maxLength: 2 }),
  }),
  fc.record({ step: fc.constant("DEFAULT" as const), field: fc.constant("f"), path: paths, value: values }),
);

function definition(version: number, field: FieldDefinition, lens: LensStep[] = []): NamespaceDefinition {
  return defineNamespace({ name: "n", version, fields: { f: field }, lens });
}

it("whatever was valid is valid under the new version, read through any lens that may be published", () => {
  let shown = 0;
  let changed = 0;
  const closed = fc
    .dictionary(fc.constantFrom(...NAMES), schemas, { minKeys: 1, maxKeys: 3, noNullPrototype: true })
    .map((properties) => ({ type: "object", properties, additionalProperties: false }));
  const schema = fc.oneof(closed, schemas);
  fc.assert(
    fc.property(
      fc.oneof(
        fc.tuple(schema, fc.oneof(fc.constant({}), schema), fc.array(steps, { maxLength: 3 })),
        fc
          .tuple(schema, values)
          .map(
            ([before, value]) => [before, { const: value }, [step({ step: "DEFAULT", field: "f", value })]] as const,
          ),
      ),
      fc.array(values, { minLength: 10, maxLength: 30 }),
      ([before, after, lens], some) => {
        const v1 = definition(1, { kind: "REGISTER", schema: before });
        const v2 = definition(2, { kind: "REGISTER", schema: after }, [...lens]);
        if (compareDefinitions([v1], v2, fits).some(({ effect }) => effect === "BREAKING" || effect === "IMPOSSIBLE"))
          return;
        for (const value of some) {
          if (!fits(before, value)) continue;
          const lifted = liftValue(lensFor(lens, "f"), value, (held) => fits(after, held));
          shown += 1;
          if (JSON.stringify(lifted) !== JSON.stringify(value)) changed += 1;
          expect(lifted !== undefined && fits(after, lifted)).toBe(true);
        }
      },
    ),
    { numRuns: 300 },
  );
  expect([shown > 50, changed > 5]).toEqual([true, true]);
});

it("the schema of a lens is that of its values, so that a lens needs nothing shown instead", () => {
  const before = register(z.object({ a: z.string(), b: z.int().optional() }));
  const after = register(z.object({ c: z.string(), d: z.boolean() }));
  const lens = [
    step({ step: "RENAME", field: "f", path: ["a"], to: "c" }),
    step({ step: "DROP", field: "f", path: ["b"] }),
    step({ step: "DEFAULT", field: "f", path: ["d"], value: false }),
  ];
  expect(compareDefinitions([definition(1, before)], definition(2, after, lens), fits)).toMatchObject([
    { effect: "LENS" },
  ]);
  const takes = (value: Json): boolean => fits(after.schema, value);
  expect(liftValue(lensFor(lens, "f"), { a: "x", b: 1 }, takes)).toEqual({ c: "x", d: false });
});

describe("the state of a unit", () => {
  const arrival = { clientId: "a0000000-0000-4000-8000-000000000001", deviceId: "d", clientNow: 9, serverNow: 9 };
  const lens = lensFor([step({ step: "RENAME", field: "f", path: ["a"], to: "c" })], "f");

  it("of a register keeps its stamps and its losers", () => {
    let state = KINDS.REGISTER.initial;
    for (const [index, value] of [{ a: 1 }, { a: 2 }].entries()) {
      const op = {
        payload: { type: "SET" as const, value },
        stamp: { ms: index + 1, counter: 0 },
        seen: null,
        baseRev: 0,
      };
      ({ state } = applyOp(KINDS.REGISTER, state, op, { ...arrival, rev: index + 1 }));
    }
    const lifted = liftState("REGISTER", JSON.parse(JSON.stringify(state)), lens, always);
    expect(lifted).toEqual({
      standing: { ...state.standing, value: { c: 2 } },
      history: state.history.map((write) => ({ ...write, value: { c: 1 } })),
    });
  });

  it("of a map and of a list is lifted member by member", () => {
    const drop = lensFor([step({ step: "DROP", field: "f", path: ["gone"] })], "f");
    let state = KINDS.MAP.initial;
    for (const [index, name] of ["gone", "kept"].entries()) {
      const op = {
        payload: { type: "SET" as const, name, value: { a: index } },
        stamp: { ms: index + 1, counter: 0 },
        seen: null,
        baseRev: 0,
      };
      ({ state } = applyOp(KINDS.MAP, state, op, { ...arrival, rev: index + 1 }));
    }
    expect(liftState("MAP", JSON.parse(JSON.stringify(state)), drop, always)).toEqual({
      members: state.members.slice(1),
    });

    const insert = { type: "INSERT" as const, id: "1", value: { a: 1 }, position: "a0" };
    const op = { payload: insert, stamp: { ms: 1, counter: 0 }, seen: null, baseRev: 0 };
    const { state: row } = applyOp(KINDS.LIST, KINDS.LIST.initial, op, { ...arrival, rev: 1 });
    expect(liftState("LIST", JSON.parse(JSON.stringify(row)), lens, always)).toMatchObject({
      insertions: [{ id: "1", value: { value: { c: 1 } } }],
    });
  });
});

it("a change of an old client is lifted as well, unless nothing is left of it", () => {
  const lens = lensFor([step({ step: "DROP", field: "f", path: ["gone"] })], "f");
  expect(liftPayload("MAP", { type: "SET", name: "kept", value: 1 }, lens, always)).toEqual({
    type: "SET",
    name: "kept",
    value: 1,
  });
  for (const payload of [
    { type: "SET", name: "gone", value: 1 },
    { type: "UNSET", name: "gone" },
  ])
    expect(liftPayload("MAP", payload, lens, always)).toBeUndefined();
  expect(liftPayload("MAP", { type: "DELETE" }, lens, always)).toEqual({ type: "DELETE" });
  const fallback = lensFor([step({ step: "DEFAULT", field: "f", value: "dark" })], "f");
  const takes = (value: Json): boolean => value === "dark";
  expect(liftPayload("REGISTER", { type: "SET", value: "light" }, fallback, takes)).toEqual({
    type: "SET",
    value: "dark",
  });
  expect(liftPayload("REGISTER", { type: "DELETE" }, fallback, takes)).toEqual({ type: "DELETE" });
  expect(liftPayload("COUNTER", { type: "ADD", delta: 1 }, fallback, takes)).toEqual({ type: "ADD", delta: 1 });
});
