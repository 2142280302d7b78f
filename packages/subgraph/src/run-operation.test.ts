/**
 * An operation compiled on its third run answers as when interpreted; where several siblings fail, it may report more of them.
 */
import { AppError } from "@continuo/errors";
import { createLogger } from "@continuo/process";
import { GraphQLScalarType, parse } from "graphql";
import { describe, expect, it } from "vitest";
import { buildSchema, type SubgraphContext } from "./index.ts";
import { createRunOperation, type OperationRequest } from "./run-operation.ts";

const typeDefs = parse(`
  extend schema @link(url: "https://specs.apollo.dev/federation/v2.9", import: ["@key"])
  scalar Upper
  enum Colour { RED GREEN }
  input Filter { colour: Colour! = GREEN tags: [String!] = ["a"] within: Filter limit: Int }
  interface Named { name: String! }
  type Film implements Named @key(fields: "id") { id: ID! name: String! year: Int parts: [Part!]! broken: Int! late: String }
  type Person implements Named { name: String! films(first: Int! = 2): [Film]! }
  type Part { title: Upper! faulty: String! }
  union Found = Film | Person
  type Query {
    film(id: ID!): Film
    named: [Named!]!
    search(text: String, filter: Filter, colours: [Colour!]! = [RED]): [Found!]!
    echo(filter: Filter! = {}, ids: [ID!], number: Float, flag: Boolean! = true, upper: Upper): String!
    required: Film!
    shown(colour: Colour): Colour
  }
  type Mutation { add(by: Int! = 1): Int! fail: Int }
`);
let count = 0;
const part = { title: "one" };
const film = (id: string) => ({
  __typename: "Film",
  id,
  name: `film ${id}`,
  year: id === "1" ? 1999 : null,
  parts: [part],
  broken: null,
});
const ada = {
  __typename: "Person",
  name: "Ada",
  films: [film("1"), null, film("2")],
};
const schema = buildSchema(typeDefs, {
  Upper: new GraphQLScalarType<string, string>({
    name: "Upper",
    serialize: (value) => String(value).toUpperCase(),
    parseValue: (value) => {
      if (typeof value !== "string") throw new TypeError("not a text");
      return `<${value}>`;
    },
  }),
  Part: {
    faulty: () => {
      throw new AppError("CONFLICT", "MOVED_ON", "Read it again.");
    },
  },
  Film: {
    late: async ({ id }: { id: string }) => `late ${id}`,
    __resolveReference: async ({ id }: { id: string }) => {
      if (id === "x") throw new Error("secret");
      return film(id);
    },
  },
  Query: {
    film: (_root: unknown, { id }: { id: string }) => (id === "0" ? null : film(id)),
    named: async () => [film("1"), ada],
    search: (_root: unknown, args: unknown) => [film(JSON.stringify(args)), ada],
    echo: (_root: unknown, args: object) =>
      JSON.stringify(Object.entries(args).toSorted(([a], [b]) => a.localeCompare(b))),
    required: () => null,
    shown: (_root: unknown, { colour }: { colour?: string }) => colour ?? "BLUE",
  },
  Mutation: {
    add: (_root: unknown, { by }: { by: number }) => (count += by),
    fail: () => {
      throw new AppError("FORBIDDEN", "NO", "No.");
    },
  },
});
const context: SubgraphContext = {
  caller: { kind: "anonymous" },
  requestId: "r",
  logger: createLogger({ name: "t", level: "silent" }),
};
const ENTITIES =
  "query ($representations: [_Any!]!) { _entities(representations: $representations) { ... on Film { id name parts { title } } } }";

describe("the answer", () => {
  it.each<[string, string, Record<string, unknown>?]>([
    [
      "of fields, aliases and lists",
      `{ a: film(id: "1") { id year parts { title } } b: film(id: 2) { year late } c: film(id: "0") { id } }`,
    ],
    ["of an interface", `{ named { __typename name ... on Person { films { name } } } }`],
    [
      "of a union, through fragments",
      `query { search { ...F ... on Person { name films(first: 3) { id } } } } fragment F on Film { id name }`,
    ],
    [
      "under conditions",
      `query ($yes: Boolean!, $no: Boolean = false) { named @include(if: $yes) { name @skip(if: $no) ... on Film @skip(if: $yes) { id } } }`,
      { yes: true },
    ],
    ["under a condition that fails", `query ($yes: Boolean!) { named @include(if: $yes) { name } }`, { yes: false }],
    ["with defaults of arguments", `{ echo }`],
    ["with literals", `{ echo(filter: { colour: RED, within: { limit: 3 } }, ids: [1, "b"], number: 2, upper: "u") }`],
    [
      "with a default that may not be null",
      `query ($flag: Boolean! = false, $filter: Filter! = { tags: ["z"] }) { echo(flag: $flag, filter: $filter) }`,
    ],
    ["with a default that is overridden", `query ($flag: Boolean! = false) { echo(flag: $flag) }`, { flag: true }],
    ["with a default that is null", `query ($number: Float = 1.5) { echo(number: $number) }`, { number: null }],
    [
      "without a variable that may be absent",
      `query ($number: Float, $upper: Upper) { echo(number: $number, upper: $upper) }`,
    ],
    [
      "with nested input",
      `query ($filter: Filter!) { echo(filter: $filter) }`,
      { filter: { within: { colour: "RED" }, tags: null } },
    ],
    ["with a list of one", `query ($ids: [ID!]) { echo(ids: $ids) }`, { ids: 7 }],
    ["with a scalar of ours", `query ($upper: Upper) { echo(upper: $upper) }`, { upper: "u" }],
    ["with an enum", `query ($colour: Colour) { shown(colour: $colour) }`, { colour: "RED" }],
    ["that is no member of its enum", `{ shown }`],
    [
      "with enums in lists",
      `query ($colours: [Colour!]! = [GREEN, RED]) { search(colours: $colours) { ... on Film { id } } }`,
    ],
    ["with an error below a list", `{ film(id: "1") { name parts { title faulty } } }`],
    ["with an error that takes its parents along", `{ required { id } film(id: "1") { id } }`],
    ["with null where none may be", `{ film(id: "1") { id broken } named { name } }`],
    [
      "of entities, one of which fails",
      ENTITIES,
      {
        representations: [
          { __typename: "Film", id: "1" },
          { __typename: "Film", id: "x" },
        ],
      },
    ],
    ["of a mutation that fails", `mutation { fail }`],
  ])("%s", async (_what, query, variables) => {
    const run = createRunOperation(schema);
    const request: OperationRequest = { query, variables };
    const interpreted = await run(request, context);
    await run(request, context);
    expect(JSON.parse(JSON.stringify(await run(request, context)))).toEqual(JSON.parse(JSON.stringify(interpreted)));
    expect(interpreted).toHaveProperty("data");
  });

  it("of changes comes in their order", async () => {
    const run = createRunOperation(schema);
    const request = { query: "mutation M { first: add second: add(by: 10) third: add }", operationName: "M" };
    for (let i = 0; i < 4; i += 1) {
      const before = count;
      expect((await run(request, context)).data).toEqual({
        first: before + 1,
        second: before + 11,
        third: before + 12,
      });
    }
  });

  it.each([
    ["a variable that is missing", `query ($id: ID!) { film(id: $id) { id } }`, {}, "VARIABLES_INVALID"],
    [
      "a variable of another type",
      `query ($number: Float) { echo(number: $number) }`,
      { number: "x" },
      "VARIABLES_INVALID",
    ],
    [
      "null where none may be",
      `query ($flag: Boolean! = true) { echo(flag: $flag) }`,
      { flag: null },
      "VARIABLES_INVALID",
    ],
    ["a field that is not there", `{ nothing }`, {}, "DOCUMENT_INVALID"],
    ["a text that is no document", `{`, {}, "DOCUMENT_INVALID"],
    ["what the schema is", `{ __schema { types { name } } }`, {}, "DOCUMENT_INVALID"],
    ["an operation that is not there", `query A { named { name } }`, {}, "OPERATION_UNKNOWN"],
  ])("to %s is a refusal, each time", async (_what, query, variables, reason) => {
    const run = createRunOperation(schema);
    const operationName = reason === "OPERATION_UNKNOWN" ? "B" : undefined;
    for (let i = 0; i < 4; i += 1) {
      const { data, errors = [] } = await run({ query, variables, operationName }, context);
      expect(data).toBeUndefined();
      expect(errors.length).toBeGreaterThan(0);
      for (const { extensions } of errors) expect(extensions).toEqual({ code: "BAD_USER_INPUT", reason });
    }
  });
});
