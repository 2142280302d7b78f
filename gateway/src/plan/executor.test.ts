import type { FetchNode, PlanNode, QueryPlanSelectionNode, SubscriptionNode } from "@apollo/query-planner";
import { createLogger } from "@continuo/process";
import { buildSchema, OperationTypeNode, parse } from "graphql";
import { describe, expect, it } from "vitest";
import type { DataSource } from "../subgraph/data-source.ts";
import { type SubgraphError, UNAVAILABLE, UNEXPECTED } from "../subgraph/subgraph-error.ts";
import { createExecutor, type Executor } from "./executor.ts";
import type { Answer } from "./operation.ts";

const schema = buildSchema(`
  type Query { item: Item items: [Item] rows: [[Item]] device: Device count: Int flag: Boolean! other: Int
    size: Size sizes: [Size!] strict: Device! free: Free name: String id: ID ratio: Float }
  type Mutation { first: Int second: Int }
  type Subscription { changed: Device }
  interface Item { id: ID! name: String }
  interface Wide { id: ID! }
  type Device implements Item & Wide { id: ID! name: String owner: Device tags: [String!] score: Int sure: Int! }
  type Film implements Item { id: ID! name: String seconds: Int! }
  enum Size { SMALL LARGE }
  scalar Free
`);

type Request = Parameters<DataSource>[0];
type Reply = { data: Record<string, unknown> | null; errors?: readonly SubgraphError[] };

interface Bench {
  readonly executor: Executor;
  /** What was asked, in order. */
  readonly asked: Request[];
  /** What was logged. */
  readonly logged: string[];
  readonly stop: () => void;
  readonly run: (query: string, variables?: Record<string, unknown>) => Promise<Answer>;
}

/** An executor over one subgraph, with a given plan in place of the planner's. */
function setUp(
  node: PlanNode | SubscriptionNode | undefined,
  reply: (request: Request) => Reply | Promise<Reply>,
): Bench {
  const asked: Request[] = [];
  const logged: string[] = [];
  const stopping = new AbortController();
  const executor = createExecutor({
    schema,
    supergraph: schema,
    plan: () => node,
    sources: new Map([
      [
        "s",
        async (request) => {
          asked.push(request);
          return { errors: [], ...structuredClone(await reply(request)) };
        },
      ],
    ]),
  });
  const logger = createLogger({ name: "test", level: "silent" });
  logger.error = (_details: unknown, text?: unknown) => void logged.push(String(text));
  const context = { caller: { kind: "anonymous" }, requestId: "r1", logger, signal: stopping.signal } as const;
  return {
    executor,
    asked,
    logged,
    stop: () => stopping.abort(),
    run: (query, variables = {}) => executor.answer(parse(query), undefined, variables, context),
  };
}

function fetch(operation: string, rest: Partial<FetchNode> = {}): FetchNode {
  return {
    kind: "Fetch",
    serviceName: "s",
    operation,
    operationName: undefined,
    operationKind: OperationTypeNode.QUERY,
    ...rest,
  };
}

/** Runs `node` on the objects that `path` leads to. */
function at(path: string, node: PlanNode): PlanNode {
  return { kind: "Flatten", path: path.split("."), node };
}

const KEY: QueryPlanSelectionNode[] = [
  { kind: "Field", name: "__typename" },
  { kind: "Field", name: "id" },
];

/** Fetches more fields of objects of `type`. */
function entities(type = "Device", rest: Partial<FetchNode> = {}): FetchNode {
  return fetch("more", { requires: [{ kind: "InlineFragment", typeCondition: type, selections: KEY }], ...rest });
}

const device = (id: string): object => ({ __typename: "Device", id });
const film = (id: string): object => ({ __typename: "Film", id });
const refusal: SubgraphError = { message: "no", extensions: { code: "NOT_FOUND", reason: "GONE" } };
const sent = ({ variables }: Request): unknown => variables["representations"];
/** Answers the first fetch with `first`, and others with an entity for each representation. */
const then =
  (first: Record<string, unknown>, entity: (sent: { id: string }) => unknown) =>
  ({ query, variables }: Request): Reply => {
    if (query !== "more") return { data: first };
    const representations = variables["representations"];
    return { data: { _entities: Array.isArray(representations) ? representations.map(entity) : [] } };
  };
const told = ({ errors = [] }: Answer): unknown[] => errors.map(({ message, path }) => [message, path?.join(".")]);

describe("a plan", () => {
  it("in sequence fetches one after the other, in parallel at once", async () => {
    const open = Promise.withResolvers<Reply>();
    const nodes = [fetch("one"), fetch("two")];
    const sequence = setUp({ kind: "Sequence", nodes }, () => open.promise);
    const parallel = setUp({ kind: "Parallel", nodes }, () => open.promise);
    const running = [sequence.run("{ count other }"), parallel.run("{ count other }")];
    expect([sequence.asked.length, parallel.asked.length]).toEqual([1, 2]);
    open.resolve({ data: { count: 1, other: 2 } });
    expect(await Promise.all(running)).toEqual([{ data: { count: 1, other: 2 } }, { data: { count: 1, other: 2 } }]);
    expect(sequence.asked.map(({ query }) => query)).toEqual(["one", "two"]);
  });

  it("runs what a mutation asks for in its order, also after one of them failed", async () => {
    const { run, asked } = setUp({ kind: "Sequence", nodes: [fetch("first"), fetch("second")] }, ({ query }) =>
      query === "first" ? { data: null, errors: [{ ...refusal, path: ["first"] }] } : { data: { second: 2 } },
    );
    const answer = await run("mutation { first second }");
    expect(asked.map(({ query }) => query)).toEqual(["first", "second"]);
    expect([answer.data, told(answer)]).toEqual([{ first: null, second: 2 }, [["no", "first"]]]);
  });

  it("goes on with what a mutation asks for when nobody waits any more", async () => {
    const change = (field: string): FetchNode => fetch(field, { operationKind: OperationTypeNode.MUTATION });
    const { run, stop } = setUp({ kind: "Sequence", nodes: [change("first"), change("second")] }, ({ query }) => {
      stop();
      return { data: { [query]: 1 } };
    });
    expect((await run("mutation { first second }")).data).toEqual({ first: 1, second: 1 });
  });

  it("follows a path through lists in lists, past what is null", async () => {
    const rows = [null, [device("1"), null], [], [device("2"), film("3")]];
    const { run, asked } = setUp(
      { kind: "Sequence", nodes: [fetch("rows"), at("rows.@.@", entities("Item"))] },
      then({ rows }, ({ id }) => ({ name: `N${id}` })),
    );
    expect((await run("{ rows { name } }")).data).toEqual({
      rows: [null, [{ name: "N1" }, null], [], [{ name: "N2" }, { name: "N3" }]],
    });
    expect(asked.slice(1).map(sent)).toEqual([[device("1"), device("2"), film("3")]]);
  });

  it.each([
    ["items.@|[Device]", [device("1")]],
    ["items.@|[Film,Device]", [device("1"), film("2")]],
    ["items.@|[Item]", [device("1"), film("2")]],
    ["|[Query].items.@", undefined],
  ])("follows the path %s to objects of those types", async (path, expected) => {
    const { run, asked } = setUp(
      { kind: "Sequence", nodes: [fetch("items"), at(path, entities("Item"))] },
      then({ items: [device("1"), film("2")] }, () => ({})),
    );
    await run("{ items { name } }");
    expect(asked.slice(1).map(sent)).toEqual(expected === undefined ? [] : [expected]);
  });

  it("asks a subgraph for nothing when nothing is there to complete", async () => {
    const { run, asked } = setUp(
      { kind: "Sequence", nodes: [fetch("items"), at("items.@", entities())] },
      then({ items: [film("1"), null] }, () => ({})),
    );
    await run("{ items { id } }");
    expect(asked).toHaveLength(1);
  });

  it("chooses a branch by a variable or its default", async () => {
    const { run, asked } = setUp(
      { kind: "Condition", condition: "c", ifClause: fetch("yes"), elseClause: fetch("no") },
      () => ({ data: { count: 1 } }),
    );
    const query = "query ($c: Boolean = true) { count @include(if: $c) other @skip(if: $c) }";
    expect([await run(query), await run(query, { c: false })]).toEqual([
      { data: { count: 1 } },
      { data: { other: null } },
    ]);
    expect(asked.map(({ query }) => query)).toEqual(["yes", "no"]);
    await expect(run(query, { c: null })).rejects.toMatchObject({ extensions: { reason: "VARIABLES_INVALID" } });
    expect((await run(query, { c: "x" })).errors).toHaveLength(1);
  });

  it.each<[string, PlanNode]>([
    ["@defer", { kind: "Defer", primary: {}, deferred: [] }],
    ["@fromContext", fetch("a", { contextRewrites: [] })],
    ["no subgraph", fetch("a", { serviceName: "nobody" })],
  ])("is refused when it needs what is not there: %s", async (words, node) => {
    await expect(setUp(node, () => ({ data: {} })).run("{ count }")).rejects.toThrow(words);
  });

  it("is made once for documents that read the same, and for each of their operations", async () => {
    let plans = 0;
    const executor = createExecutor({
      schema,
      supergraph: schema,
      sources: new Map(),
      plan: () => {
        plans += 1;
        return undefined;
      },
    });
    const logger = createLogger({ name: "test", level: "silent" });
    const context = { caller: { kind: "anonymous" }, requestId: "r1", logger } as const;
    const text = "query A { count } query B { other }";
    for (const document of [parse(text), parse(`${text} # again`)])
      for (const name of ["A", "B", "A"]) await executor.answer(document, name, {}, context);
    expect(plans).toBe(2);
  });
});

describe("a fetch", () => {
  it("sends the variables that it uses, as the client sent them", async () => {
    const { run, asked } = setUp(fetch("a", { variableUsages: ["a", "b", "c"] }), () => ({ data: {} }));
    await run("query ($a: Int, $b: Int = 3, $c: Int, $d: Int) { count }", { a: 1, c: null, d: 4 });
    expect(asked[0]?.variables).toEqual({ a: 1, c: null });
  });

  it("adds to the same objects what another brought, also in lists", async () => {
    const first = { rows: [[{ ...device("1"), tags: ["a"] }, null], null], device: { id: "1", owner: null } };
    const second = { rows: [[{ name: "One", tags: ["b", "c"] }, film("2")], []], device: { owner: { id: "2" } } };
    const { run } = setUp({ kind: "Sequence", nodes: [fetch("first"), fetch("second")] }, ({ query }) => ({
      data: query === "first" ? first : second,
    }));
    expect(await run("{ rows { id name ... on Device { tags } } device { id owner { id } } }")).toEqual({
      data: {
        rows: [
          [
            { id: "1", name: "One", tags: ["b", "c"] },
            { id: "2", name: null },
          ],
          [],
        ],
        device: { id: "1", owner: { id: "2" } },
      },
    });
  });

  it("sends what a field requires, and nothing for an object where that is missing", async () => {
    const owner: QueryPlanSelectionNode = {
      kind: "Field",
      name: "owner",
      alias: "o",
      selections: [{ kind: "Field", name: "score" }],
    };
    const requires: QueryPlanSelectionNode[] = [
      { kind: "InlineFragment", typeCondition: "Item", selections: [...KEY, { kind: "Field", name: "tags" }] },
      { kind: "InlineFragment", typeCondition: "Device", selections: [owner] },
    ];
    const whole = { ...device("1"), tags: ["x"], o: { score: 0, more: 1 }, more: 1 };
    const { run, asked } = setUp(
      {
        kind: "Sequence",
        nodes: [fetch("items"), at("items.@", fetch("more", { requires }))],
      },
      then({ items: [whole, { ...whole, id: undefined }, { ...whole, id: "3", o: null }, film("4")] }, () => ({})),
    );
    await run("{ items { name } }");
    expect(asked.slice(1).map(sent)).toEqual([
      [
        { ...device("1"), tags: ["x"], o: { score: 0 } },
        { ...device("3"), tags: ["x"], o: null },
      ],
    ]);
  });

  it("sends equal representations once, and answers and errors go to all places", async () => {
    const nodes = [fetch("items"), at("items.@", entities())];
    const { run, asked } = setUp({ kind: "Sequence", nodes }, ({ query }) =>
      query === "more"
        ? {
            data: { _entities: [{ name: null }, { name: "Two" }] },
            errors: [{ ...refusal, path: ["_entities", 0, "name"] }],
          }
        : { data: { items: [device("1"), film("9"), device("2"), device("1")] } },
    );
    const answer = await run("{ items { id name } }");
    expect(asked.slice(1).map(sent)).toEqual([[device("1"), device("2")]]);
    expect(answer.data).toEqual({
      items: [
        { id: "1", name: null },
        { id: "9", name: null },
        { id: "2", name: "Two" },
        { id: "1", name: null },
      ],
    });
    expect(told(answer)).toEqual([
      ["no", "items.0.name"],
      ["no", "items.3.name"],
    ]);
  });

  it("completes further what went to several places", async () => {
    const inner = at("items.@.owner", entities());
    const nodes = [fetch("items"), at("items.@", entities())];
    let owners = 0;
    const { run } = setUp({ kind: "Sequence", nodes: [...nodes, inner] }, ({ query, variables }) => {
      if (query === "items") return { data: { items: [device("1"), device("1")] } };
      const { representations } = variables;
      const count = Array.isArray(representations) ? representations.length : 0;
      owners += 1;
      const entity = owners === 1 ? { owner: device("2") } : { tags: ["x"] };
      return { data: { _entities: Array.from({ length: count }, () => entity) } };
    });
    const { data } = await run("{ items { ... on Device { owner { tags } } } }");
    expect(data).toEqual({ items: [{ owner: { tags: ["x"] } }, { owner: { tags: ["x"] } }] });
  });

  it("changes names and values on the way there and back, false and null too", async () => {
    const node = entities("Device", {
      inputRewrites: [{ kind: "ValueSetter", path: ["... on Device", "__typename"], setValueTo: "Item" }],
      outputRewrites: [
        { kind: "KeyRenamer", path: ["... on Device", "score__alias_0"], renameKeyTo: "score" },
        { kind: "KeyRenamer", path: ["... on Film", "tags"], renameKeyTo: "name" },
        { kind: "KeyRenamer", path: ["owner", "... on Device", "score__alias_0"], renameKeyTo: "score" },
      ],
    });
    const { run, asked } = setUp(
      { kind: "Sequence", nodes: [fetch("a"), at("device", node)] },
      then({ device: device("1") }, () => ({ score__alias_0: 0, tags: [], owner: { score__alias_0: 3 } })),
    );
    expect(await run("{ device { score tags name owner { score } } }")).toEqual({
      data: { device: { score: 0, tags: [], name: null, owner: { score: 3 } } },
    });
    expect(asked.slice(1).map(sent)).toEqual([[{ __typename: "Item", id: "1" }]]);
  });

  it("lets no subgraph that knows an interface only take away an object's type", async () => {
    const { run } = setUp(
      { kind: "Sequence", nodes: [fetch("a"), at("item", entities("Item"))] },
      then({ item: device("1") }, () => ({ __typename: "Item", name: "One" })),
    );
    expect(await run("{ item { __typename name ... on Device { id } } }")).toEqual({
      data: { item: { __typename: "Device", name: "One", id: "1" } },
    });
  });

  it.each<[string, Reply | Error]>([
    ["no list of entities", { data: { _entities: null } }],
    ["fewer entities than asked for", { data: { _entities: [] } }],
    ["nothing, by a bug of ours", new Error("bug")],
  ])("that brings %s is logged, and masked at all its places", async (_what, reply) => {
    const nodes = [fetch("items"), at("items.@", entities())];
    const { run, logged } = setUp({ kind: "Sequence", nodes }, ({ query }) => {
      if (query === "items") return { data: { items: [device("1"), film("2"), device("3")] } };
      if (reply instanceof Error) throw reply;
      return reply;
    });
    const answer = await run("{ items { id name } }");
    expect(told(answer)).toEqual([0, 1, 2].map((index) => [UNEXPECTED.message, `items.${index}`]));
    expect(answer.data).toEqual({ items: ["1", "2", "3"].map((id) => ({ id, name: null })) });
    expect(logged).toEqual(["a fetch failed"]);
  });

  it("does not start when nobody waits any more", async () => {
    const bench = setUp({ kind: "Sequence", nodes: [fetch("one"), fetch("two"), fetch("three")] }, ({ query }) => {
      if (query === "two") bench.stop();
      return { data: { count: 1 } };
    });
    const answer = await bench.run("mutation { first second }");
    expect(bench.asked.map(({ query }) => query)).toEqual(["one", "two"]);
    expect(told(answer)).toEqual([[UNAVAILABLE.message, undefined]]);
  });
});

describe("an answer", () => {
  const shaped = (query: string, data: Record<string, unknown>): Promise<Answer> =>
    setUp(fetch("a"), () => ({ data })).run(query);

  it("has the client's fields in the client's order and under its names, and nothing else", async () => {
    const data = { b: device("1"), count: 1, secret: 2 };
    const query = `{ n: count ...F b: device { ... on Wide { id } __typename } ...F t: __typename }
      fragment F on Query { b: device { ... on Item { ... on Device { name } t: __typename } } }`;
    const { data: answered } = await shaped(query, { ...data, n: 7 });
    expect(JSON.stringify(answered)).toBe(
      `{"n":7,"b":{"name":null,"t":"Device","id":"1","__typename":"Device"},"t":"Query"}`,
    );
  });

  it("gives the fields of an object whose type was not asked for, as only one is possible", async () => {
    const { data } = await shaped("{ device { ... on Wide { ... on Item { ... on Device { id } } } } }", {
      device: { id: "1" },
    });
    expect(data).toEqual({ device: { id: "1" } });
  });

  it("takes names that objects inherit for names of fields only", async () => {
    const query = "{ __proto__: name constructor: name toString: device { __proto__: id } }";
    const absent = await shaped(query, {});
    expect(absent.errors).toBeUndefined();
    expect(JSON.stringify(absent.data)).toBe(`{"__proto__":null,"constructor":null,"toString":null}`);
    const text = `{"__proto__":"a","constructor":"b","toString":{"__proto__":"c"}}`;
    expect(JSON.stringify((await shaped(query, JSON.parse(text))).data)).toBe(text);
  });

  it("knows the schema without asking anybody", async () => {
    const { run, asked } = setUp(undefined, () => ({ data: {} }));
    const query = `query ($n: String = "Size", $yes: Boolean!) { t: __type(name: $n) { ...T @include(if: $yes) } __schema { queryType { name } } __typename }
      fragment T on __Type { enumValues { name } }`;
    expect(await run(query, { yes: true })).toEqual({
      data: {
        t: { enumValues: [{ name: "SMALL" }, { name: "LARGE" }] },
        __schema: { queryType: { name: "Query" } },
        __typename: "Query",
      },
    });
    expect(asked).toHaveLength(0);
  });

  it.each<[query: string, data: Record<string, unknown>, answered: unknown, faults: readonly string[]]>([
    ["{ count }", { count: "1" }, { count: null }, ["count"]],
    ["{ count }", { count: 1.5 }, { count: null }, ["count"]],
    ["{ ratio }", { ratio: 1.5 }, { ratio: 1.5 }, []],
    ["{ id }", { id: 1 }, { id: 1 }, []],
    ["{ id name }", { id: 1.5, name: 1 }, { id: null, name: null }, ["id", "name"]],
    ["{ flag }", { flag: "true" }, null, ["flag"]],
    ["{ flag }", {}, null, ["flag"]],
    ["{ free }", { free: { a: [1] } }, { free: { a: [1] } }, []],
    ["{ size }", { size: "LARGE" }, { size: "LARGE" }, []],
    ["{ size }", { size: "SECRET" }, { size: null }, ["size"]],
    ["{ sizes }", { sizes: ["SMALL", null, "SECRET"] }, { sizes: null }, ["sizes.1", "sizes.2"]],
    ["{ sizes }", { sizes: "SMALL" }, { sizes: null }, ["sizes"]],
    ["{ device { id } }", { device: [] }, { device: null }, ["device"]],
    ["{ device { id } }", { device: { __typename: "Secret", id: "1" } }, { device: null }, ["device"]],
    ["{ device { id } }", { device: { __typename: "Film", id: "1" } }, { device: null }, ["device"]],
    ["{ item { id } }", { item: { __typename: "Device" } }, { item: null }, ["item.id"]],
    [
      "{ items { id } }",
      { items: [device("1"), { __typename: "Film" }] },
      { items: [{ id: "1" }, null] },
      ["items.1.id"],
    ],
    ["{ count strict { sure } }", { count: 1, strict: { sure: null } }, null, ["strict.sure"]],
    [
      "{ device { owner { sure } id } }",
      { device: { id: "1", owner: {} } },
      { device: { owner: null, id: "1" } },
      ["device.owner.sure"],
    ],
    // Only the interface is known, which is as good as nothing, and no error: the fetch that would have told the type
    // has failed.
    ["{ item { __typename } }", { item: { __typename: "Item" } }, { item: null }, []],
  ])("%s of %j is %j", async (query, data, answered, faults) => {
    const { run, logged } = setUp(fetch("a"), () => ({ data }));
    const answer = await run(query);
    expect(answer.data).toEqual(answered);
    expect(told(answer)).toEqual(faults.map((path) => [UNEXPECTED.message, path]));
    expect(logged).toEqual(faults.length === 0 ? [] : ["a subgraph broke its schema"]);
  });

  it("says of what is missing after an error only the error", async () => {
    const { run, logged } = setUp(fetch("a"), () => ({
      data: { flag: null },
      errors: [{ ...refusal, path: ["flag"] }],
    }));
    const answer = await run("{ flag }");
    expect([answer.data, told(answer), logged]).toEqual([null, [["no", "flag"]], []]);
  });

  it.each<[string, object[], PlanNode[]]>([
    ["where each is told in many places", Array.from({ length: 900 }, () => device("1")), [at("items.@", entities())]],
    ["where nothing is as the schema says", Array.from({ length: 3_000 }, () => []), []],
  ])("has a thousand errors at most, also %s", async (_what, items, more) => {
    const errors = [1, 2, 3].map(() => ({ ...refusal, path: ["_entities", 0] }));
    const { run } = setUp({ kind: "Sequence", nodes: [fetch("items"), ...more] }, ({ query }) =>
      query === "more" ? { data: null, errors } : { data: { items } },
    );
    const answer = await run("{ items { name } }");
    expect([answer.errors?.length, Object(answer.data)["items"].length]).toEqual([1_000, items.length]);
  });
});

describe("an event", () => {
  const primary = fetch("primary", { operationKind: OperationTypeNode.SUBSCRIPTION });
  const rest: PlanNode = at("changed.owner", entities());
  const logger = createLogger({ name: "test", level: "silent" });
  const context = { caller: { kind: "anonymous" }, requestId: "r1", logger } as const;
  const document = parse("subscription { changed { id owner { name } } }");

  it("is completed for each subscriber, and never changed", async () => {
    let asked = 0;
    const { executor } = setUp({ kind: "Subscription", primary, rest }, () => {
      asked += 1;
      return { data: { _entities: [{ name: `for ${asked}` }] } };
    });
    const event = { data: { changed: { ...device("1"), owner: device("2") } }, errors: [] };
    const before = structuredClone(event);
    const plan = executor.planSubscription(document, undefined);
    expect(plan.source).toEqual({ subgraph: "s", operation: "primary", operationName: undefined });
    const complete = (): Promise<Answer> => plan.complete(event, {}, context);
    const answers = await Promise.all([complete(), complete()]);
    expect(answers).toEqual(["for 1", "for 2"].map((name) => ({ data: { changed: { id: "1", owner: { name } } } })));
    expect(event).toEqual(before);
  });

  it("keeps its own errors", async () => {
    const { executor } = setUp({ kind: "Subscription", primary }, () => ({ data: null }));
    const errors = [{ ...refusal, path: ["changed", "owner"] }];
    const event = { data: { changed: { id: "1", owner: null } }, errors };
    const answer = await executor.planSubscription(document, undefined).complete(event, {}, context);
    expect([answer.data, told(answer)]).toEqual([event.data, [["no", "changed.owner"]]]);
  });

  it("has no plan when the planner has none for it", () => {
    const { executor } = setUp(fetch("a"), () => ({ data: null }));
    expect(() => executor.planSubscription(document, undefined)).toThrow("This subscription cannot be planned.");
  });
});
