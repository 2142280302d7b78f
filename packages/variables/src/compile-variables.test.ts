import { buildSchema, getOperationAST, getVariableValues, GraphQLError, GraphQLScalarType, parse } from "graphql";
import { expect, it } from "vitest";
import { compileVariables } from "./compile-variables.ts";

const schema = buildSchema(`
  scalar Even
  enum Colour { RED GREEN }
  input Filter { colour: Colour! = GREEN tags: [String!] = ["a"] grid: [[Int]] within: Filter limit: Int even: Even }
  input Required { id: ID! ratio: Float! isOn: Boolean }
  input Either @oneOf { one: Int other: String }
  type Query { ask(filter: Filter, required: [Required!]!, either: Either, first: Int!, colours: [Colour!]): Int }
`);
const even = schema.getType("Even");
if (even instanceof GraphQLScalarType)
  even.parseValue = (value) => {
    if (typeof value === "number" && value % 2 === 0) return value / 2;
    throw new GraphQLError("expected an even number");
  };
const operation = getOperationAST(
  parse(`query ($filter: Filter, $required: [Required!]!, $either: Either, $first: Int! = 5, $colours: [Colour!] = [RED]) {
    ask(filter: $filter, required: $required, either: $either, first: $first, colours: $colours) }`),
);
const definitions = operation?.variableDefinitions ?? [];
const read = compileVariables(schema, definitions);

const required = [{ id: "a", ratio: 0.5 }];
const deep = (levels: number): object => (levels === 0 ? {} : { within: deep(levels - 1) });

it.each<[string, Record<string, unknown>]>([
  ["what is given, defaults, and nothing for what is left out", { required }],
  ["null where null may be", { required, filter: null, colours: null, either: null }],
  ["undefined, as if it were left out within", { required, filter: { limit: undefined, tags: undefined } }],
  ["undefined for a variable", { required, filter: undefined }],
  [
    "all of it",
    { required: [{ id: 7, ratio: 1, isOn: true }], first: 0, colours: ["GREEN"], filter: { colour: "RED", even: 4 } },
  ],
  ["lists in lists, with holes", { required, filter: { grid: [[1, null], null, []] } }],
  ["a type within itself", { required, filter: deep(50) }],
  ["one in place of a list", { required: required[0], colours: "RED", filter: { grid: 1 } }],
  ["an iterable", { required: new Set(required) }],
  ["one of several", { required, either: { one: 1 } }],
  ["two of which one may be", { required, either: { one: 1, other: "b" } }],
  ["nothing where something must be", {}],
  ["null where nothing may be null", { required: null, first: null }],
  ["null in a list of no nulls", { required: [null], filter: { tags: ["a", null] } }],
  ["too little of an object", { required: [{ id: "a" }] }],
  ["more than there is", { required, filter: { colour: "RED", size: 1, constructor: 2 } }],
  ["a name of every object's", { required, filter: JSON.parse('{ "__proto__": 1, "toString": 2 }') }],
  [
    "other types",
    {
      required: [{ id: 1.5, ratio: "1", isOn: 1 }],
      first: "1",
      colours: ["BLUE"],
      filter: { even: 3, limit: 2 ** 40 },
    },
  ],
  ["an array for an object", { required: [[]], filter: [] }],
  ["text for an object", { required: ["a"] }],
  ["more mistakes than are told", { required: Array.from({ length: 60 }, () => ({ id: "a" })) }],
  ["what nobody asked for", { required, other: 1 }],
])("variables are read as graphql reads them: %s", (_what, inputs) => {
  const expected = getVariableValues(schema, definitions, inputs, { maxErrors: 5 });
  const found = read(inputs);
  expect(found.errors?.map(({ message }) => message)).toEqual(expected.errors?.map(({ message }) => message));
  expect(found.coerced).toStrictEqual(expected.coerced);
});

it("what is too deep is told, and nothing more", () => {
  let filter: object = {};
  for (let level = 0; level < 100_000; level += 1) filter = { within: filter };
  const expected = getVariableValues(schema, definitions, { required, filter }, { maxErrors: 5 });
  expect(expected.errors).toHaveLength(1);
  expect(read({ required, filter }).errors?.map(({ name }) => name)).toEqual(expected.errors?.map(({ name }) => name));
});
