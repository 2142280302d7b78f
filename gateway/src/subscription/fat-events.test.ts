/** An event that already has the selected fields (`@provides`) is completed by its owner alone, whatever its source. */
import { createIdentitySigner, generateKey } from "@continuo/access";
import { createLogger } from "@continuo/process";
import { buildSchema, graphqlSync, parse } from "graphql";
import { describe, expect, it } from "vitest";
import { composeSupergraph } from "../compose.ts";
import type { GatewayContext } from "../context.ts";
import { claimsOf } from "../fixtures/claims.ts";
import { iterate } from "../fixtures/iterate.ts";
import { createMemoryPokes } from "../fixtures/memory-pokes.ts";
import { createMemoryRelays } from "../fixtures/memory-relays.ts";
import { createApolloGraph } from "../graph/apollo-graph.ts";
import { createDocuments } from "../limits/documents.ts";
import type { Answer } from "../plan/operation.ts";
import type { LocalSubgraph } from "../subgraph/local-subgraph.ts";
import { createSubgraphClient } from "../subgraph/subgraph-client.ts";
import { createSubscriptions } from "./subscriptions.ts";

const ORDERS = `
  extend schema
    @link(url: "https://specs.apollo.dev/federation/v2.9", import: ["@key", "@provides", "@external", "@composeDirective"])
    @link(url: "https://specs.continuo.example/live/v1.0", import: ["@live", "@relayed", "@streamed"])
    @composeDirective(name: "@live") @composeDirective(name: "@relayed") @composeDirective(name: "@streamed")
  directive @live(query: String!, topic: String!, scope: String! = "VIEWER", ownWith: String) on FIELD_DEFINITION
  directive @relayed(query: String!, topic: String!) on FIELD_DEFINITION
  directive @streamed(scope: String! = "VIEWER", shared: Boolean! = true) on FIELD_DEFINITION
  type Query {
    changes(since: String): Page!
    richChanges(since: String): Page! @provides(fields: "orders { seller { name } }")
    opened(sealed: [String!]!): [Order!]!
  }
  type Subscription {
    live(since: String): Page! @live(query: "changes", topic: "orders:{userId}")
    shared(since: String): Page! @live(query: "changes", topic: "orders:all", scope: "PUBLIC")
    rich(since: String): Page! @provides(fields: "orders { seller { name } }") @live(query: "richChanges", topic: "orders:{userId}")
    relayed: [Order!]! @relayed(query: "opened", topic: "orders:{userId}")
    streamed: Order! @streamed
  }
  type Page { to: String! hasMore: Boolean! orders: [Order!]! }
  type Order { id: ID! buyer: Person! @provides(fields: "name") seller: Person! }
  type Person @key(fields: "id") { id: ID! name: String! @external }`;
const PEOPLE = `
  extend schema @link(url: "https://specs.apollo.dev/federation/v2.9", import: ["@key", "@shareable"])
  type Query { person: Person }
  type Person @key(fields: "id") { id: ID! name: String! @shareable email: String! }`;

/** What the owner's resolvers hold. */
const person = { __typename: "Person", id: "p", name: "of the order" };
const order = { id: "o", buyer: person, seller: person };
const page = { to: "1", hasMore: false, orders: [order] };
const owner = buildSchema(`
  type Query { changes(since: String): Page! richChanges(since: String): Page! opened(sealed: [String!]!): [Order!]! }
  type Page { to: String! hasMore: Boolean! orders: [Order!]! }
  type Order { id: ID! buyer: Person! seller: Person! }
  type Person { id: ID! name: String! }`);

const unused = (): never => {
  throw new Error("nobody asks for this here");
};
const logger = createLogger({ name: "test", level: "silent" });
const signer = createIdentitySigner((await generateKey("Ed25519")).privateJwk);
async function* tell(): AsyncGenerator<{ data: Record<string, unknown> }> {
  yield { data: { told: order } };
}

let askedOthers = 0;
const subgraphs: Record<"orders" | "people", LocalSubgraph> = {
  orders: {
    graphql: async ({ query, variables }) => {
      const rootValue = { changes: page, richChanges: page, opened: [order] };
      return { data: graphqlSync({ schema: owner, source: query, rootValue, variableValues: variables }).data };
    },
    subscribe: async () => tell(),
    send: unused,
    stream: unused,
  },
  people: {
    graphql: async ({ query }) => {
      askedOthers += 1;
      const name = /\bname\b/.test(query) ? { name: "of the people" } : {};
      return { data: { _entities: [{ ...name, email: "p@example.com" }] } };
    },
    subscribe: unused,
    send: unused,
    stream: unused,
  },
};

const clients = new Map(
  Object.entries(subgraphs).map(([name, at]) => [name, createSubgraphClient({ name, at, signer, logger })]),
);
const supergraphSdl = composeSupergraph(
  Object.entries({ orders: ORDERS, people: PEOPLE }).map(([name, sdl]) => ({ name, typeDefs: parse(sdl) })),
);
const graph = createApolloGraph({ supergraphSdl, clients, listSize: 1 });
const relays = createMemoryRelays();
const most = { depth: 9, aliases: 9, rootFields: 9, directives: 9, selections: 99, tokens: 99, cost: 99 };
const subscriptions = createSubscriptions({
  graph: { current: () => graph },
  clients,
  pokes: createMemoryPokes(),
  relays,
  standing: { assert: async () => undefined, assertToken: async () => undefined },
  documents: createDocuments(most),
  maxCost: 99,
  hideSuggestions: false,
  logger,
});

/** The first event, and how often another subgraph was asked for it. */
async function eventOf(query: string): Promise<{ told: unknown; others: number }> {
  askedOthers = 0;
  const prepared = subscriptions.prepare({ query });
  if (!("open" in prepared)) throw new Error(JSON.stringify(prepared));
  const viewer = { userId: "u", sessionId: "s", deviceId: "d", applicationId: "a", acr: "1", amr: [], authTime: 0 };
  const caller = { kind: "viewer", viewer } as const;
  const context: GatewayContext = { caller, session: claimsOf("s"), requestId: "r1", logger };
  const events = iterate<Answer>((subscriber) => prepared.open(context, subscriber));
  const next = events.next();
  await relays.publish("orders:u", "sealed");
  const { value } = await next;
  await events.return?.();
  expect(value?.errors).toBeUndefined();
  return { told: value?.data?.["told"], others: askedOthers };
}

describe.each([
  ["live", (selection: string) => `{ orders ${selection} }`, (told: unknown) => ({ orders: [told] })],
  ["shared", (selection: string) => `{ orders ${selection} }`, (told: unknown) => ({ orders: [told] })],
  ["relayed", (selection: string) => selection, (told: unknown) => [told]],
  ["streamed", (selection: string) => selection, (told: unknown) => told],
])("an event that is %s", (field, within, of) => {
  const ask = (selection: string) => eventOf(`subscription { told: ${field} ${within(selection)} }`);

  it("needs nobody but its owner for what that provides", async () => {
    expect(await ask("{ id buyer { __typename id name } }")).toEqual({
      told: of({ id: "o", buyer: person }),
      others: 0,
    });
  });

  it("is completed by others where nothing is provided, and where more is asked than that", async () => {
    const others = { told: of({ seller: { name: "of the people" } }), others: 1 };
    expect(await ask("{ seller { name } }")).toEqual(others);
    const more = { told: of({ buyer: { name: "of the order", email: "p@example.com" } }), others: 1 };
    expect(await ask("{ buyer { name email } }")).toEqual(more);
  });
});

it("what the subscription's own field provides is its query's to give", async () => {
  const told = { orders: [{ seller: { name: "of the order" } }] };
  expect(await eventOf("subscription { told: rich { orders { seller { name } } } }")).toEqual({ told, others: 0 });
});
