import { parse } from "graphql";
import { describe, expect, it } from "vitest";
import type { Limits } from "./limits.ts";
import { assertShape } from "./shape.ts";

const LIMITS: Limits = { depth: 4, aliases: 3, rootFields: 5, directives: 3, selections: 20, tokens: 1_000, cost: 1 };

const said = (text: string): unknown => {
  try {
    assertShape(parse(text), LIMITS);
    return "fits";
  } catch (cause) {
    return cause;
  }
};
const doubling = (steps: number): string =>
  Array.from({ length: steps }, (_, step) => `fragment F${step} on T { ...F${step + 1} ...F${step + 1} }`).join(" ");

describe("the shape of a document", () => {
  it.each([
    ["at its depth", "{ a { b { c { d } } } }"],
    ["of introspection, however deep", "{ __schema { a { b { c { d { e } } } } } }"],
    ["with as many aliases as it may have", "{ x: a y: a z: a }"],
    ["with as many fields at its root as it may have", "{ a b c d e }"],
    [
      "whose fragments spread themselves: validation refuses it",
      "{ ...A } fragment A on T { b ...B } fragment B on T { ...A }",
    ],
    ["that spreads what is not there: validation refuses it", "{ ...Nobody }"],
  ])("is let through %s", (_case, text) => {
    expect(said(text)).toBe("fits");
  });

  it.each([
    ["too deep", "OPERATION_TOO_DEEP", 4, 5, "{ a { b { c { d { e } } } } }"],
    [
      "too deep in a fragment",
      "OPERATION_TOO_DEEP",
      4,
      5,
      "{ a { b { ...F } } } fragment F on T { c { ... { d { e } } } }",
    ],
    ["too deep in what is not used", "OPERATION_TOO_DEEP", 4, 5, "{ a } fragment F on T { a { b { c { d { e } } } } }"],
    ["of too many aliases", "TOO_MANY_ALIASES", 3, 4, "{ w: a x: a y: a z: a }"],
    [
      "of too many aliases by spreading",
      "TOO_MANY_ALIASES",
      3,
      4,
      "{ a { ...F } b { ...F } } fragment F on T { x: a y: a }",
    ],
    ["of too many fields at its root", "TOO_MANY_ROOT_FIELDS", 5, 6, "{ a b c ...F } fragment F on Query { d e f }"],
    ["of too many directives", "TOO_MANY_DIRECTIVES", 3, 4, "query ($v: Int @a) @b { c @d ... @e { f } }"],
    ["of too many selections", "TOO_MANY_SELECTIONS", 20, 21, `{ a { ${"b ".repeat(20)} } }`],
    [
      "of fragments that double",
      "TOO_MANY_SELECTIONS",
      20,
      192,
      `{ a { ...F0 } } ${doubling(6)} fragment F6 on T { a }`,
    ],
  ])("is refused %s", (_case, reason, allowed, asked, text) => {
    expect(said(text)).toMatchObject({ code: "BAD_USER_INPUT", reason, details: { allowed, asked } });
  });

  it("is measured in the time that reading takes, though it would be larger than any number", () => {
    expect(said(`{ a { ...F0 } } ${doubling(400)} fragment F400 on T { a }`)).toMatchObject({
      reason: "TOO_MANY_SELECTIONS",
      details: { asked: Number.MAX_SAFE_INTEGER },
    });
  });
});
