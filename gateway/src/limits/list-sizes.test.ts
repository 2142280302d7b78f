/** Checks that our own graph declares the size of its lists, so that costs do not rest on guesses. */
import {
  getNamedType,
  getNullableType,
  isCompositeType,
  isInterfaceType,
  isListType,
  isObjectType,
  parse,
} from "graphql";
import { describe, expect, it } from "vitest";
import { Env } from "../env.ts";
import { loadSupergraph } from "../graph/supergraph-file.ts";
import { readSupergraph } from "../graph/supergraph.ts";
import { createCosts } from "./cost.ts";
import { readWeights } from "./weights.ts";

const supergraph = readSupergraph(loadSupergraph());
const schema = supergraph.apiSchema().toGraphQLJSSchema();
const weights = readWeights(supergraph);
const MAX_COST = Env.shape.MAX_COST.parse(undefined);
const costs = createCosts({ schema, weights, listSize: Env.shape.LIST_SIZE.parse(undefined) });

const fields = Object.values(schema.getTypeMap())
  .filter((type) => isObjectType(type) || isInterfaceType(type))
  .filter(({ name }) => !name.startsWith("__"))
  .flatMap((type) => Object.values(type.getFields()).map(({ name, type: returned }) => ({ type, name, returned })));
const lists = fields.filter(
  ({ returned }) => isListType(getNullableType(returned)) && isCompositeType(getNamedType(returned)),
);

describe("each list of objects in our graph", () => {
  it("is looked at here", () => {
    expect(lists.length).toBeGreaterThan(20);
  });

  it.each(lists.map(({ type, name }): [string, string] => [type.name, name]))("has a size: %s.%s", (type, name) => {
    const own = weights.listSizes.get(`${type}.${name}`);
    const isSized = own !== undefined && (own.assumedSize != null || own.slicingArguments != null);
    const around = fields.filter(({ returned }) => getNamedType(returned).name === type);
    const unsized = around.filter(
      (field) => !weights.listSizes.get(`${field.type.name}.${field.name}`)?.sizedFields?.includes(name),
    );
    expect(isSized || (around.length > 0 && unsized.length === 0)).toBe(true);
  });
});

describe("by these sizes", () => {
  const device = `{ id name platform isCurrent signOut { lockedOutAt } syncStatus { ackedRev headRev }
    sessions { id expiresAt application { name } policy { idleSeconds } } }`;
  const deviceList = (first: number): string =>
    `{ viewer { user { id email } devices(first: ${first}) { nodes ${device} } } }`;
  const costOf = (text: string): number => costs.of(parse(text), undefined, {});

  it("a list of ten devices, with what they have in common and how far each is, costs a tenth of what is allowed", () => {
    expect(costOf(deviceList(10))).toBeLessThan(MAX_COST / 10);
  });

  it("a page as large as it may be is allowed, live too", () => {
    expect(costOf(deviceList(100))).toBeLessThan(MAX_COST);
    expect(costOf(`subscription { deviceChanged { devices ${device} } }`)).toBeLessThan(MAX_COST);
    expect(costOf("{ pullState(first: 500) { entries { key value } } }")).toBeLessThan(MAX_COST / 10);
  });

  it.each([
    ["lists in lists", "{ viewer { devices(first: 100) { nodes { sessions { device { sessions { id } } } } } } }"],
    [
      "events with lists in lists",
      "subscription { deviceChanged { devices { sessions { device { sessions { id } } } } } }",
    ],
    ["a page of a million", "{ pullState(first: 1000000) { entries { key } } }"],
    [
      "eleven passwords in one operation",
      `mutation { ${Array.from({ length: 11 }, (_, at) => `p${at}: signInWithPassword(input: { email: "a@b.c", password: "${at}" }) { grant }`).join(" ")} }`,
    ],
  ])("a bomb is not: %s", (_what, text) => {
    expect(costOf(text)).toBeGreaterThan(MAX_COST);
  });
});
