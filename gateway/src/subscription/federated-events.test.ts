/**
 * A subscription's event has what the same selection returns as a query, with any feature of federation and any
 * failure.
 */
import fc from "fast-check";
import {
  type DocumentNode,
  GraphQLSchema,
  isObjectType,
  Kind,
  OperationTypeNode,
  parse,
  print,
  validate,
  visit,
} from "graphql";
import { describe, expect, it } from "vitest";
import { arbitraryOperations } from "../fixtures/arbitrary-operations.ts";
import { createLiveGraph, LIVE_SUPERGRAPH, type LiveGraph, personOf } from "../fixtures/live-graph.ts";
import { createMockSubgraphs, type Weather } from "../fixtures/mock-subgraphs.ts";
import type { Answer } from "../plan/operation.ts";
import { isRecord } from "../subgraph/subgraph-error.ts";

const mock = createMockSubgraphs(LIVE_SUPERGRAPH);
const FAIR: Weather = { seed: 1, errors: 0, nulls: 0, broken: 0 };
const ADA = personOf("ada");

interface Sky {
  /** The failures of the next answers. */
  weather: Weather;
  /** The subgraphs that were asked. */
  readonly asked: Set<string>;
}

function open(): Sky & LiveGraph {
  const sky: Sky = { weather: FAIR, asked: new Set() };
  let reads = 0;
  const graph = createLiveGraph((name) => async (request, scope) => {
    sky.asked.add(name);
    const source = mock(sky.weather).get(name);
    if (!source) throw new Error(`there is no ${name}`);
    // Here a read's content does not depend on the cursor, and every read counts as new.
    const { cursor: _cursor = null, ...variables } = request.variables;
    const isRead = "cursor" in request.variables;
    const answer = await source({ ...request, variables: isRead ? { ...variables, cursor: null } : variables }, scope);
    const batch = answer.data?.["live"];
    if (isRead && isRecord(batch)) Object.assign(batch, { cursor_to: `${(reads += 1)}`, cursor_hasMore: false });
    return answer;
  });
  return Object.assign(sky, graph);
}

const asSubscription = (selection: string, head = ""): string => `subscription ${head} { live: changed ${selection} }`;
const asQuery = (selection: string, head = ""): DocumentNode =>
  parse(`query ${head} { live: changes(since: null) ${selection} }`);

/** Errors in no order: parallel fetches have none. */
const comparable = ({ data, errors = [] }: Answer): unknown => ({
  data: JSON.parse(JSON.stringify(data ?? null)),
  errors: errors.map(({ path, message, extensions }) => JSON.stringify({ path, message, extensions })).sort(),
});

const REVIEWS = "reviews { text rating }";
const features: [string, string, string[], { head?: string; variables?: Record<string, unknown> }?][] = [
  ["aliases", "{ a: product { b: sku c: reviews { d: text } } e: product { reviews { text } } }", ["reviews"]],
  [
    "an interface",
    `{ item { __typename name ... on Bundle { saving { amount } ${REVIEWS} } ... on Product { ${REVIEWS} } } }`,
    ["reviews"],
  ],
  [
    "a union",
    `{ anything { __typename ... on Product { sku ${REVIEWS} } ... on Maker { best { name } } ... on Bundle { ${REVIEWS} } } }`,
    ["reviews"],
  ],
  [
    "lists in lists",
    `{ shelves { name ... on Product { topReview { text author { email } } } } }`,
    ["reviews", "users"],
  ],
  ["lists in lists of another subgraph", `{ products { reviews { witnesses { name email } } } }`, ["reviews", "users"]],
  ["@requires", `{ products { computedShipping(express: true) } }`, ["reviews"]],
  ["@requires of what clients do not see", `{ products { computedRisk weight } }`, ["reviews"]],
  ["@provides", `{ products { reviews { author { name } } } }`, ["reviews"]],
  [
    "more than what is provided",
    `{ products { reviews { author { name email friends { name } } } } }`,
    ["reviews", "users"],
  ],
  [
    "an object that is an interface elsewhere",
    `{ products { reviews { about { __typename id score title ... on Film { sequel { title } } } } } }`,
    ["reviews", "media"],
  ],
  ["what several subgraphs share", `{ settings { theme level } }`, []],
  [
    "conditions on fields",
    `{ product { sku @skip(if: $no) name @include(if: $no) reviews @include(if: $yes) { text author @skip(if: $yes) { email } } } }`,
    ["reviews"],
    { head: "($yes: Boolean!, $no: Boolean = false)", variables: { yes: true } },
  ],
  [
    "conditions on fragments",
    `{ item { ... on Product @include(if: $yes) { ${REVIEWS} } ... @skip(if: $yes) { name } } product { ...Told @include(if: $yes) @skip(if: $no) } }`,
    ["reviews"],
    { head: "($yes: Boolean!, $no: Boolean!)", variables: { yes: true, no: false } },
  ],
  [
    "variables and defaults",
    `{ products { reviews(first: $few) { text } computedShipping(express: $express) } }`,
    ["reviews"],
    { head: "($few: Int = 1, $express: Boolean)", variables: { express: false } },
  ],
];
const skies: [string, Partial<Weather>][] = [
  ["all is well", {}],
  ["fields are null", { nulls: 30 }],
  ["fields and entities fail", { errors: 15, nulls: 5 }],
  ["subgraphs break their schemas", { broken: 6 }],
  ...["reviews", "users", "media"].map((down): [string, Partial<Weather>] => [`${down} is away`, { down }]),
];

/** Whether the owner says how far it is. */
async function isTold(live: LiveGraph): Promise<boolean> {
  const { errors } = await live.answer(asQuery("{ to hasMore }"), {}, ADA);
  return errors === undefined;
}

describe.each(features)("an event with %s", (_feature, selection, subgraphs, { head, variables = {} } = {}) => {
  const told = selection.includes("...Told") ? ` fragment Told on Product { name ${REVIEWS} }` : "";

  it.each(skies)("is what a query gives when %s", async (_case, weather) => {
    const live = open();
    const events = await live.subscribe(asSubscription(selection, head) + told, variables, ADA);
    let compared = 0;
    for (let seed = 1; seed <= 12; seed += 1) {
      live.weather = { ...FAIR, ...weather, seed };
      if (!(await isTold(live))) continue;
      const expected = await live.answer(parse(print(asQuery(selection, head)) + told), variables, ADA);
      // Without data from the owner there is no event.
      if (!expected.data) continue;
      await live.poke(ADA);
      const event = await events.next();
      expect(comparable(event.value ?? {})).toEqual(comparable(expected));
      compared += 1;
    }
    await events.return?.();
    expect(compared).toBeGreaterThan(0);
    // Subgraphs that depend on one that is down are not called.
    const unasked = ["catalog", ...subgraphs].filter((name) => !live.asked.has(name));
    expect(weather.down ?? unasked).toEqual(weather.down ?? []);
    expect(live.pokes.listeners).toBe(0);
  });
});

it("an event says which places are missing while a subgraph is away, and the next is whole again", async () => {
  const live = open();
  const events = await live.subscribe(asSubscription("{ product { sku computedShipping } }"), {}, ADA);
  const next = async (down?: string): Promise<Answer> => {
    live.weather = { ...FAIR, down };
    await live.poke(ADA);
    return (await events.next()).value ?? {};
  };
  const [before, during, after] = [await next(), await next("reviews"), await next()];
  expect(comparable(before)).toMatchObject({
    data: { live: { product: { sku: expect.any(String), computedShipping: expect.any(String) } } },
    errors: [],
  });
  expect(during).toMatchObject({
    data: { live: { product: { sku: expect.any(String), computedShipping: null } } },
    errors: [{ path: ["live", "product"], extensions: { reason: "SUBGRAPH_UNAVAILABLE" } }],
  });
  expect(comparable(after)).toEqual(comparable(before));
  await events.return?.();
});

describe("whatever is selected", () => {
  const live = open();
  const changes = live.schema.getType("Changes");
  const { query: _query, mutation: _mutation, subscription: _subscription, ...types } = live.schema.toConfig();
  const rooted = new GraphQLSchema({ ...types, query: isObjectType(changes) ? changes : null });

  /** The operation's selection of the batch, within a field of an operation of `kind`. */
  function within(kind: OperationTypeNode, field: string, document: DocumentNode): DocumentNode {
    return visit(document, {
      OperationDefinition: (operation) => {
        const root = parse(`{ live: ${field} { to } }`).definitions[0];
        const selection = root?.kind === Kind.OPERATION_DEFINITION ? root.selectionSet.selections[0] : undefined;
        if (selection?.kind !== Kind.FIELD) throw new Error("there is a field");
        const selections = [{ ...selection, selectionSet: operation.selectionSet }];
        return { ...operation, operation: kind, selectionSet: { kind: Kind.SELECTION_SET, selections } };
      },
    });
  }

  it.each(skies)("an event is what a query gives when %s", async (_case, weather) => {
    await fc.assert(
      fc.asyncProperty(arbitraryOperations(rooted), fc.nat(), async ({ document, variables }, seed) => {
        const query = within(OperationTypeNode.QUERY, "changes(since: null)", document);
        fc.pre(validate(live.schema, query).length === 0);
        live.weather = { ...FAIR, ...weather, seed };
        fc.pre(await isTold(live));
        const expected = await live.answer(query, variables, ADA).catch(() => undefined);
        // Some cannot be planned, and without data from the owner there is no event.
        fc.pre(expected?.data != null);
        const text = print(within(OperationTypeNode.SUBSCRIPTION, "changed", document));
        const events = await live.subscribe(text, variables, ADA);
        const event = await events.next();
        await events.return?.();
        expect(comparable(event.value ?? {})).toEqual(comparable(expected ?? {}));
      }),
      { numRuns: 40, endOnFailure: true },
    );
  });
});
