import { parse } from "graphql";
import { describe, expect, it } from "vitest";
import { composeSupergraph } from "../compose.ts";
import { readSupergraph } from "../graph/supergraph.ts";
import { createCosts } from "./cost.ts";
import { readWeights } from "./weights.ts";

const LINK = `extend schema @link(url: "https://specs.apollo.dev/federation/v2.9", import: ["@key" "@cost" { name: "@listSize", as: "@sized" }])\n`;
const SDL = `${LINK}
  type Query {
    one: Thing
    many: [Thing!]!
    grid: [[Thing]]
    page(first: Int = 50, last: Int): Page!
    dear: Thing @cost(weight: 7)
    free: [String!]
    heavy: Heavy
    priced(by: String @cost(weight: 4)): Int
    few: [Thing] @sized(assumedSize: 3)
    some(limit: Int, first: Int): [Thing] @sized(slicingArguments: ["limit", "first"])
    loose(limit: Int): [Thing] @sized(slicingArguments: ["limit"], requireOneSlicingArgument: false)
    found(limit: Int, first: Int): Found @sized(slicingArguments: ["limit"], sizedFields: ["hits"])
    any: Any
  }
  type Mutation { make: Thing rename(name: String): Int cheap: Int @cost(weight: 1) }
  type Subscription { changed: Page! }
  type Thing @key(fields: "id") { id: ID! things: [Thing!]! }
  type Page { nodes: [Thing!]! edges: [Edge!]! total: Int }
  type Edge { node: Thing }
  type Heavy @cost(weight: 5) { id: ID }
  type Found { hits: [Thing] others: [Thing] }
  union Any = Thing | Page`;
const supergraph = readSupergraph(composeSupergraph([{ name: "things", typeDefs: parse(SDL) }]));
const schema = supergraph.apiSchema().toGraphQLJSSchema();
const costs = createCosts({ schema, weights: readWeights(supergraph), listSize: 10 });

describe("what an operation costs", () => {
  it.each<[cost: number, text: string, variables?: Record<string, unknown>]>([
    [1, "{ one { id } }"],
    [0, "{ __schema { types { name } } }"],
    [10, "{ many { id } }"],
    [110, "{ many { id things { id } } }"],
    [1_110, "{ many { things { things { id } } } }"],
    [100, "{ grid { id } }"],
    [0, "{ free }"],
    [51, "{ page { nodes { id } } }"],
    [4, "{ page(first: 3) { nodes { id } total } }"],
    [9, "{ page(first: 3, last: 8) { nodes { id } } }"],
    [151, "{ page { nodes { id } edges { node { id } } } }"],
    [4, "{ page(first: 3) { ...P } } fragment P on Page { ... { nodes { id } } }"],
    [9, "query ($n: Int) { page(first: $n) { nodes { id } } }", { n: 8 }],
    [51, "query ($n: Int) { page(first: $n) { nodes { id } } }"],
    [6, "query ($n: Int = 5) { page(first: $n) { nodes { id } } }"],
    [9, "query ($n: Int) { page(first: 3, last: $n) { nodes { id } } }", { n: 8 }],
    [1, "query ($n: Int) { page(first: $n) { nodes { id } } }", { n: -8 }],
    [51, "query ($n: Int) { page(first: $n) { nodes { id } } }", { n: "8" }],
    [7, "{ dear { id } }"],
    [5, "{ heavy { id } }"],
    [4, `{ priced(by: "x") }`],
    [0, "{ priced }"],
    [3, "{ few { id } }"],
    [16, "{ found(limit: 5, first: 2) { hits { id } others { id } } }"],
    [4, "{ some(limit: 4) { id } }"],
    [5, "query ($n: Int) { some(limit: 4, first: $n) { id } }", { n: 5 }],
    [4, "query ($n: Int) { some(limit: 4, first: $n) { id } }"],
    [6, "query ($n: Int = 6) { some(first: $n) { id } }"],
    [10, "{ loose { id } }"],
    [3, "{ loose(limit: 3) { id } }"],
    [11, "{ any { ... on Thing { id } ... on Page { total nodes { id } } } }"],
    [10, "mutation { make { id } }"],
    [11, `mutation { rename(name: "x") cheap }`],
    [11, "subscription { changed { nodes { id } } }"],
    [2, "query A { many { id } } query B { one { id } again: one { id } }", { operation: "B" }],
  ])("is %i for %s with %o", (cost, text, variables = {}) => {
    const operationName = typeof variables["operation"] === "string" ? variables["operation"] : undefined;
    expect(costs.of(parse(text), operationName, variables)).toBe(cost);
  });

  it.each<[text: string, variables?: Record<string, unknown>]>([
    ["{ some { id } }"],
    ["{ some(limit: null) { id } }"],
    ["query ($n: Int) { some(first: $n) { id } }"],
    ["query ($n: Int = null) { some(first: $n) { id } }", { n: null }],
    ["{ found { hits { id } } }"],
  ])("is not known where one argument has to say how many, and none does: %s with %o", (text, variables = {}) => {
    expect(() => costs.of(parse(text), undefined, variables)).toThrow(
      expect.objectContaining({ code: "BAD_USER_INPUT", reason: "LIST_UNBOUNDED" }),
    );
  });

  it("is a number that JSON has, however large the lists", () => {
    const nested = (depth: number): string => (depth === 0 ? "id" : `things { ${nested(depth - 1)} }`);
    expect(costs.of(parse(`{ one { ${nested(20)} } }`), undefined, {})).toBe(Number.MAX_SAFE_INTEGER);
    expect(costs.of(parse("query ($n: Int) { page(first: $n) { nodes { id } } }"), undefined, { n: Infinity })).toBe(
      51,
    );
  });
});
