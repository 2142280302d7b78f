/** Our executor against Apollo's: the same plans over the same subgraphs, for generated operations. */
import type { PlanNode, QueryPlanSelectionNode } from "@apollo/query-planner";
import fc from "fast-check";
import { buildSchema, type GraphQLError, isAbstractType, OperationTypeNode, parse } from "graphql";
import { describe, expect, it } from "vitest";
import { answerByApollo, CONTEXT } from "../fixtures/apollo-executor.ts";
import { arbitraryOperations, type SentOperation } from "../fixtures/arbitrary-operations.ts";
import { createMockSubgraphs, type Weather } from "../fixtures/mock-subgraphs.ts";
import { composeTestSupergraph } from "../fixtures/test-supergraph.ts";
import { createPlanner } from "../graph/planner.ts";
import { loadSupergraph } from "../graph/supergraph-file.ts";
import { readSupergraph } from "../graph/supergraph.ts";
import type { DataSource } from "../subgraph/data-source.ts";
import { isRecord, UNEXPECTED } from "../subgraph/subgraph-error.ts";
import { createExecutor } from "./executor.ts";
import type { Answer } from "./operation.ts";

type Sources = ReadonlyMap<string, DataSource>;

const RUNS = 60;
const FAIR = { errors: 0, nulls: 10, broken: 0 };

describe.each([
  ["a graph with all that is hard", composeTestSupergraph()],
  ["our own graph", loadSupergraph()],
])("%s", (_name, supergraphSdl) => {
  const { schema, supergraph, subgraphs, plan } = createPlanner(supergraphSdl);
  const apiSchema = readSupergraph(supergraphSdl).apiSchema();
  const mock = createMockSubgraphs(supergraphSdl);

  function ours({ document, variables }: SentOperation, weather: Weather): Promise<Answer> {
    const executor = createExecutor({ schema, supergraph, sources: mock(weather), plan });
    return executor.answer(document, undefined, variables, CONTEXT);
  }

  function theirs({ document, variables }: SentOperation, weather: Weather): Promise<Answer> {
    const node = plan(document, undefined);
    if (node?.kind === "Subscription") throw new Error("it runs none");
    const isAbstract = (name: unknown): boolean => isAbstractType(supergraph.getType(String(name)));
    const sources = withoutInterfaceNames(mock(weather), isAbstract);
    return answerByApollo({ document, variables, plan: node, sources, supergraph, apiSchema });
  }

  /** The planner fails for introspection within conditional fragments. */
  function hasPlan({ document }: SentOperation): boolean {
    try {
      plan(document, undefined);
      return true;
    } catch {
      return false;
    }
  }

  it.each<[string, (seed: number) => Weather]>([
    ["nothing fails", (seed) => ({ seed, ...FAIR })],
    ["fields and entities fail", (seed) => ({ seed, ...FAIR, errors: 5 })],
    ["subgraphs break their schemas", (seed) => ({ seed, ...FAIR, broken: 3 })],
    [
      "subgraphs fail, and leave it to the gateway what becomes null",
      (seed) => ({ seed, errors: 3, nulls: 5, broken: 3 }),
    ],
    ["a subgraph is away", (seed) => ({ seed, ...FAIR, down: subgraphs[seed % subgraphs.length] })],
  ])("is answered as Apollo does when %s", async (_case, weatherOf) => {
    await fc.assert(
      fc.asyncProperty(arbitraryOperations(schema), fc.nat(), async (operation, seed) => {
        fc.pre(hasPlan(operation));
        const weather = weatherOf(seed);
        const answers = await Promise.all([ours(operation, weather), theirs(operation, weather)]);
        const own = comparable(answers[0], operation);
        const apollo = comparable(answers[1], operation);
        // If nothing is left of the answer, Apollo reports only the first reason.
        const isNothingLeft = own.data === null && apollo.data === null;
        const errors = isNothingLeft ? own.errors.filter((error) => apollo.errors.includes(error)) : own.errors;
        expect({ ...own, errors }).toEqual(apollo);
      }),
      // Shrinking takes a minute and the seed says enough.
      { numRuns: RUNS, endOnFailure: true },
    );
  });
});

/** Removes what Apollo's executor cannot handle; see below. */
function withoutInterfaceNames(sources: Sources, isAbstract: (typename: unknown) => boolean): Sources {
  const spared = [...sources].map(([name, source]): [string, DataSource] => [
    name,
    async (request, scope) => {
      const answer = await source(request, scope);
      const entities = answer.data?.["_entities"];
      for (const entity of Array.isArray(entities) ? entities : [])
        if (isRecord(entity) && isAbstract(entity["__typename"])) delete entity["__typename"];
      return answer;
    },
  ]);
  return new Map(spared);
}

/**
 * Makes answers comparable: errors by path and message, and neither data nor errors by order, because Apollo groups the
 * fields of fragments. Where a list may have objects of several types, paths lack the index; see below. Errors beneath
 * a null count only as that something failed there: one or all of them may be reported (GraphQL section 6.4.4).
 */
function comparable({ data, errors = [] }: Answer, { text }: SentOperation): { data: unknown; errors: string[] } {
  const place = (path: GraphQLError["path"] = []): string => {
    const keys = path.map((key) => (text.includes("...") && typeof key === "number" ? ANY : key));
    return keys.slice(0, depthOfNull(data, keys)).map(String).join(".");
  };
  return {
    data: JSON.parse(JSON.stringify(data ?? null)),
    errors: [...new Set(errors.map(({ path, message }) => `${place(path)}: ${message}`))].toSorted(),
  };
}

/** Any index of a list. */
const ANY = "@";

/** The depth at which a path in `data` meets a null. */
function depthOfNull(data: unknown, path: readonly (string | number)[]): number {
  let values = [data];
  for (const [depth, key] of path.entries()) {
    if (values.includes(null)) return depth;
    values = values.flatMap((value) => {
      if (Array.isArray(value)) return key === ANY ? value : [value[Number(key)]];
      return isRecord(value) ? [value[key]] : [];
    });
  }
  return path.length;
}

/** Cases where our answer differs on purpose. */
describe("Apollo's executor", () => {
  const schema = buildSchema(`
    type Query { item: Item items: [Item] device: Device }
    interface Item { id: ID! name: String }
    type Device implements Item { id: ID! name: String! isSold: Boolean tags: [String] }
    type Film implements Item { id: ID! name: String }
  `);
  const first = {
    kind: "Fetch",
    serviceName: "s",
    operation: "first",
    operationName: undefined,
    operationKind: OperationTypeNode.QUERY,
  } as const;
  const more = { ...first, operation: "more" } as const;
  const device = { __typename: "Device", id: "1" };
  const film = { __typename: "Film", id: "2" };

  const KEY: QueryPlanSelectionNode[] = [
    { kind: "Field", name: "__typename" },
    { kind: "Field", name: "id" },
  ];

  /** The first fetch brings `data`, another at `path` brings `entities`. */
  function plan(path: string, typeCondition: string, rest: object = {}): PlanNode {
    const second: PlanNode = {
      ...more,
      requires: [{ kind: "InlineFragment", typeCondition, selections: KEY }],
      ...rest,
    };
    return {
      kind: "Sequence",
      nodes: [first, { kind: "Flatten", path: path.split("."), node: second }],
    };
  }

  async function both(
    query: string,
    node: PlanNode,
    data: Record<string, unknown>,
    entities: Awaited<ReturnType<DataSource>> = { data: null, errors: [] },
  ): Promise<unknown[]> {
    const source: DataSource = async ({ query }) =>
      structuredClone(query === "first" ? { data, errors: [] } : entities);
    const sources = new Map([["s", source]]);
    const document = parse(query);
    const executor = createExecutor({ schema, supergraph: schema, sources, plan: () => node });
    const answers = [
      await executor.answer(document, undefined, {}, CONTEXT),
      await answerByApollo({ document, plan: node, sources, supergraph: schema }),
    ];
    return answers.map(({ data, errors = [] }) => [
      JSON.parse(JSON.stringify(data ?? null)),
      ...errors.map(({ path, message }) => `${path?.join(".")}: ${message}`),
    ]);
  }

  it("counts the places of errors without objects of other types", async () => {
    const path = ["_entities", 0, "name"];
    const errors = [{ message: "no", path, extensions: { code: "NOT_FOUND", reason: "R" } as const }];
    const answers = await both(
      "{ items { id } }",
      plan("items.@", "Device"),
      { items: [film, device] },
      { data: { _entities: [null] }, errors },
    );
    const items = [{ id: "2" }, { id: "1" }];
    expect(answers).toEqual([
      [{ items }, "items.1.name: no"],
      [{ items }, "items.0.name: no"],
    ]);
  });

  it("forgets the type of an object within a fragment on an interface, when it did not have to ask", async () => {
    const query = "{ device { ... on Item { id ... on Device { isSold } } } }";
    expect(await both(query, plan("item", "Item"), { device: { id: "1", isSold: true } })).toEqual([
      [{ device: { id: "1", isSold: true } }],
      [{ device: { id: "1" } }],
    ]);
  });

  it("takes an interface's name for an object's type, from a subgraph that knows the interface only", async () => {
    const entities = { data: { _entities: [{ __typename: "Item", name: "One" }] }, errors: [] };
    expect(await both("{ item { __typename name } }", plan("item", "Item"), { item: device }, entities)).toEqual([
      [{ item: { __typename: "Device", name: "One" } }],
      [{ item: null }],
    ]);
  });

  it("loses false, 0 and the empty text where it renames them back", async () => {
    const rewrites = { outputRewrites: [{ kind: "KeyRenamer", path: ["isSold__alias_0"], renameKeyTo: "isSold" }] };
    const entities = { data: { _entities: [{ isSold__alias_0: false }] }, errors: [] };
    expect(await both("{ device { isSold } }", plan("device", "Device", rewrites), { device }, entities)).toEqual([
      [{ device: { isSold: false } }],
      [{ device: { isSold: null } }],
    ]);
  });

  it("goes by the interface's promises where the object's type promises more", async () => {
    expect(await both("{ item { name } }", plan("item", "Film"), { item: { ...device, name: null } })).toEqual([
      [{ item: null }, `item.name: ${UNEXPECTED.message}`],
      [{ item: { name: null } }],
    ]);
  });

  it("gives up the whole answer when a subgraph sends something else than a list or an object", async () => {
    const broken = { item: { ...device, name: "One" }, device: { id: "1", tags: "none" } };
    expect(await both("{ item { name } device { tags } }", plan("item", "Film"), broken)).toEqual([
      [{ item: { name: "One" }, device: { tags: null } }, `device.tags: ${UNEXPECTED.message}`],
      [null, expect.stringContaining("Invalid non-list value none")],
    ]);
  });
});
