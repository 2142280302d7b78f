import { describe, expect, it } from "vitest";
import * as z from "zod";
import { compareDefinitions } from "./compatibility.ts";
import { counter, defineNamespace, list, map, max, register, set, type NamespaceOptions } from "./define.ts";
import { fits } from "./fits.fixture.ts";

type Options = Partial<NamespaceOptions> & Pick<NamespaceOptions, "fields">;
const define = (options: Options) => defineNamespace({ name: "settings", version: 1, ...options });

/** `EFFECT path why` of each change. */
function changes(...definitions: [...Options[], Options]): string[] {
  const lineage = definitions.map((options, index) => define({ version: index + 1, ...options }));
  const next = lineage.pop();
  if (next === undefined) throw new Error("nothing to compare");
  return compareDefinitions(lineage, next, fits).map(({ effect, path, why }) => `${effect} ${path} ${why}`);
}

const theme = register(z.enum(["light", "dark"]));
const same = { version: 1 };

describe("an additive change keeps the version", () => {
  it.each<[string, Options, Options, string[]]>([
    ["nothing", { fields: { theme } }, { fields: { theme } }, []],
    ["a new field", { fields: { theme } }, { fields: { theme, visits: counter() } }, ["ADDITIVE visits is new"]],
    [
      "a wider choice",
      { fields: { theme } },
      { fields: { theme: register(z.enum(["light", "dark", "dim"])) } },
      ["ADDITIVE theme takes more, or says more of it"],
    ],
    [
      "a field of its own that was one of all others",
      { fields: { "*": register(z.string()) } },
      { fields: { "*": register(z.string()), theme: register(z.json()) } },
      ["ADDITIVE theme takes more, or says more of it", "ADDITIVE theme has its own definition"],
    ],
    [
      "another quota",
      { fields: { theme } },
      { fields: { theme }, quota: { entries: 10 } },
      ['ADDITIVE quota was {"bytes":5242880,"entries":5000}'],
    ],
  ])("%s", (_, before, after, expected) => {
    expect(changes(before, { ...after, ...same })).toEqual(expected);
  });
});

describe("a breaking change says where and why", () => {
  it.each<[string, Options, Options, string[]]>([
    [
      "a narrower choice",
      { fields: { theme } },
      { fields: { theme: register(z.enum(["dark"])) } },
      ['BREAKING theme no longer takes "light"'],
    ],
    [
      "a field that is gone",
      { fields: { theme, visits: counter() } },
      { fields: { theme } },
      ["BREAKING visits is gone: a lens drops it, or says its new name"],
    ],
    [
      "a member of a map",
      { fields: { of: map(z.object({ a: z.string(), b: z.string() })) } },
      { fields: { of: map(z.object({ a: z.string() })) } },
      ["BREAKING of.b is no longer taken"],
    ],
    [
      "all others narrower for one",
      { fields: { "*": register(z.json()) } },
      { fields: { "*": register(z.json()), theme } },
      ["BREAKING theme takes only string, was anything", "ADDITIVE theme has its own definition"],
    ],
  ])("%s", (_, before, after, expected) => {
    expect(changes(before, { ...after, ...same })).toEqual(expect.arrayContaining(expected));
    expect(changes(before, after)).toEqual(expect.arrayContaining(expected.slice(0, 1)));
  });

  it.each<[string, Options, Options, string]>([
    ["another kind", { fields: { n: max() } }, { fields: { n: counter() } }, "n is COUNTER, was MAX"],
    [
      "another persistence",
      { fields: { theme } },
      { fields: { theme }, persistence: "NONE" },
      "persistence was DURABLE",
    ],
    ["no others any more", { fields: { "*": theme } }, { fields: { theme } }, "* cannot go"],
    ["a version left out", { fields: { theme } }, { fields: { theme }, version: 3 }, "version the newest is 1"],
  ])("and what no version can do: %s", (_, before, after, expected) => {
    expect(changes(before, after)).toContainEqual(expect.stringContaining(`IMPOSSIBLE ${expected}`));
  });
});

describe("a lens covers", () => {
  it.each<[string, Options, Options, string[]]>([
    [
      "another name",
      { fields: { colour: theme } },
      { fields: { theme }, lens: [{ step: "RENAME", field: "colour", to: "theme" }] },
      ["LENS colour is called theme"],
    ],
    [
      "a field that is gone",
      { fields: { theme, old: counter() } },
      { fields: { theme }, lens: [{ step: "DROP", field: "old" }] },
      ["LENS old is dropped"],
    ],
    [
      "a narrower choice, by what is shown instead",
      { fields: { theme } },
      {
        fields: { theme: register(z.enum(["dark"])) },
        lens: [{ step: "DEFAULT", field: "theme", value: "dark" }],
      },
      ['LENS theme no longer takes "light"'],
    ],
    [
      "members of values, without anything shown instead",
      { fields: { at: register(z.object({ street: z.string(), fax: z.string().optional() })) } },
      {
        fields: { at: register(z.object({ line: z.string(), country: z.string() })) },
        lens: [
          { step: "RENAME", field: "at", path: ["street"], to: "line" },
          { step: "DROP", field: "at", path: ["fax"] },
          { step: "DEFAULT", field: "at", path: ["country"], value: "FR" },
        ],
      },
      ["LENS at has another shape"],
    ],
  ])("%s", (_, before, after, expected) => {
    expect(changes(before, after)).toEqual(expected);
  });

  it.each<[string, Options[], Options, string]>([
    [
      "a name that was another field's",
      [{ fields: { a: theme, b: theme } }],
      { fields: { b: theme }, lens: [{ step: "RENAME", field: "a", to: "b" }] },
      "b would be a and b at once",
    ],
    [
      "a name that was dropped",
      [{ fields: { a: theme, b: theme } }, { fields: { a: theme }, lens: [{ step: "DROP", field: "b" }] }],
      { fields: { a: theme, b: theme } },
      "b was a field before",
    ],
    [
      "a name beside all others",
      [{ fields: { "*": theme, a: theme } }],
      { fields: { "*": theme, b: theme }, lens: [{ step: "RENAME", field: "a", to: "b" }] },
      "lens.RENAME.a * takes every name",
    ],
    [
      "all others where a field was dropped",
      [{ fields: { a: theme, b: theme } }],
      { fields: { a: theme, "*": theme }, lens: [{ step: "DROP", field: "b" }] },
      "* would bring back",
    ],
    [
      "a default that is not taken",
      [{ fields: { theme } }],
      { fields: { theme: register(z.enum(["dim"])) }, lens: [{ step: "DEFAULT", field: "theme", value: "dark" }] },
      'theme does not take its own default "dark"',
    ],
    [
      "an element of a set",
      [{ fields: { of: set(z.string()) } }],
      { fields: { of: set(z.enum(["a"])) }, lens: [{ step: "DEFAULT", field: "of", value: "a" }] },
      "lens.DEFAULT.of a SET is not changed by a lens",
    ],
    [
      "a field that never was",
      [{ fields: { theme } }],
      { fields: { theme }, lens: [{ step: "DROP", field: "them" }] },
      "lens.DROP.them there was no such field",
    ],
    [
      "a member that never was",
      [{ fields: { of: list(z.object({ a: z.string() })) } }],
      { fields: { of: list(z.object({ a: z.string() })) }, lens: [{ step: "DROP", field: "of", path: ["b"] }] },
      "of.b DROP: there was no member b",
    ],
  ])("but never %s", (_, before, after, expected) => {
    expect(changes(...before, after)).toContainEqual(expect.stringContaining(`IMPOSSIBLE ${expected}`));
  });
});

describe("a definition", () => {
  it("is plain JSON", () => {
    const made = define({ fields: { theme, "*": register(z.json()), of: map(z.object({ a: z.int() })) } });
    expect(JSON.parse(JSON.stringify(made))).toEqual(made);
    expect(made.fields["*"]).toEqual({ kind: "REGISTER", schema: {} });
    expect(made.fields["of"]?.schema["required"]).toBeUndefined();
  });

  it.each<[string, () => unknown, RegExp]>([
    ["a value that is no JSON", () => register(z.date()), /Date/],
    ["a transform", () => register(z.string().transform(Number)), /[Tt]ransform/],
    ["a name with capitals", () => define({ name: "Settings", fields: { theme } }), /lower case/],
    ["no field", () => define({ fields: {} }), /expected a field/],
    [
      "a lens before anything was written",
      () => define({ fields: { theme }, lens: [{ step: "DROP", field: "x" }] }),
      /version 1/,
    ],
    ["clients newer than itself", () => define({ fields: { theme }, minClientVersion: 2 }), /at most the version/],
    ["a life without end", () => define({ fields: { theme }, persistence: "TTL" }), /seconds for TTL/],
    ["seconds of what lasts", () => define({ fields: { theme }, ttlSeconds: 5 }), /seconds for TTL/],
    [
      "a schema of a counter",
      () => define({ fields: { n: { kind: "COUNTER", schema: { type: "string" } } } }),
      /schema \{\}/,
    ],
  ])("does not say %s", (_, make, problem) => {
    expect(make).toThrow(problem);
  });
});
