/** An open stream is authorized again before each read, because a sign-in does not stay recent. */
import { createLogger } from "@continuo/process";
import { devicesTopic } from "@continuo/signals";
import { buildSchema, graphqlSync, parse } from "graphql";
import { afterEach, expect, it, vi } from "vitest";
import { composeSupergraph } from "../compose.ts";
import type { GatewayContext } from "../context.ts";
import { iterate } from "../fixtures/iterate.ts";
import { createMemoryPokes } from "../fixtures/memory-pokes.ts";
import { createMemoryRelays } from "../fixtures/memory-relays.ts";
import { createApolloGraph } from "../graph/apollo-graph.ts";
import { createDocuments } from "../limits/documents.ts";
import type { SubgraphClient } from "../subgraph/subgraph-client.ts";
import { createSubscriptions } from "../subscription/subscriptions.ts";

const TYPES = `
  type Query { deviceChanges(since: String): Changes }
  type Changes { from: String to: String! hasMore: Boolean! }`;
const SDL = `${TYPES}
  extend schema
    @link(url: "https://specs.apollo.dev/federation/v2.9", import: ["@composeDirective"])
    @link(url: "https://specs.continuo.example/auth/v1.0", import: ["@requiresAuth"], for: SECURITY)
    @composeDirective(name: "@requiresAuth")
    @link(url: "https://specs.continuo.example/live/v1.0", import: ["@live"])
    @composeDirective(name: "@live")
  directive @live(query: String!, topic: String!) on FIELD_DEFINITION
  directive @requiresAuth(acr: String, maxAge: Int, recent: Boolean! = false) repeatable on FIELD_DEFINITION
  type Subscription {
    deviceChanged(since: String): Changes
      @live(query: "deviceChanges", topic: "devices:{userId}") @requiresAuth(maxAge: 60)
  }`;
const owner = buildSchema(TYPES);
const NOW = Date.parse("2026-11-29T12:00:00Z");
const USER = "0199a1c2-0000-7000-8000-000000000001";
const logger = createLogger({ name: "test", level: "silent" });
const unused = (): never => {
  throw new Error("nobody asks for this here");
};

afterEach(() => {
  vi.useRealTimers();
});

it("ends once the sign-in is too old, and asks no subgraph any more", async () => {
  vi.setSystemTime(NOW);
  let reads = 0;
  const client: SubgraphClient = {
    name: "session",
    async graphql({ query }) {
      reads += 1;
      const rootValue = { deviceChanges: { from: null, to: `d${reads}`, hasMore: false } };
      const { data = null } = graphqlSync({ schema: owner, source: query, rootValue });
      return { data, errors: [], failed: false };
    },
    subscribe: unused,
    post: unused,
    get: unused,
    stream: unused,
    isReady: unused,
    [Symbol.asyncDispose]: async () => undefined,
  };
  const supergraphSdl = composeSupergraph([{ name: "session", typeDefs: parse(SDL) }]);
  const clients = new Map([["session", client]]);
  const pokes = createMemoryPokes();
  const most = { depth: 9, aliases: 9, rootFields: 9, directives: 9, selections: 9, tokens: 99, cost: 99 };
  const graph = createApolloGraph({ supergraphSdl, clients, listSize: 10 });
  const subscriptions = createSubscriptions({
    graph: { current: () => graph },
    clients,
    pokes,
    relays: createMemoryRelays(),
    standing: { assert: async () => undefined, assertToken: async () => undefined },
    documents: createDocuments(most),
    maxCost: most.cost,
    hideSuggestions: true,
    logger,
  });
  const viewer = {
    userId: USER,
    sessionId: USER,
    deviceId: USER,
    applicationId: "continuo",
    acr: "aal1",
    amr: [],
    authTime: NOW / 1_000,
  };
  const context: GatewayContext = {
    caller: { kind: "viewer", viewer },
    session: {
      iss: "i",
      aud: "a",
      sub: USER,
      client_id: "continuo",
      sid: USER,
      did: USER,
      jti: USER,
      iat: NOW / 1_000,
      exp: NOW / 1_000 + 300,
      auth_time: NOW / 1_000,
      acr: "aal1",
      amr: [],
      scope: "account",
      gid: USER,
      gen: 1,
      uep: 0,
      posture: "STRICT",
    },
    requestId: "r1",
    logger,
  };

  const prepared = subscriptions.prepare({ query: "subscription { deviceChanged { to } }" });
  if (!("open" in prepared)) throw new Error(JSON.stringify(prepared));
  const events = iterate((subscriber) => prepared.open(context, subscriber));
  expect(await events.next()).toMatchObject({ value: { data: { deviceChanged: { to: "d1" } } } });
  vi.setSystemTime(NOW + 60_000);
  await pokes.publish(devicesTopic(USER), 2);
  expect(await events.next()).toMatchObject({ value: { data: { deviceChanged: { to: "d2" } } } });
  vi.setSystemTime(NOW + 61_000);
  await pokes.publish(devicesTopic(USER), 3);
  await expect(events.next()).rejects.toMatchObject({ code: "STEP_UP_REQUIRED", reason: "AUTHENTICATION_TOO_OLD" });
  expect(reads).toBe(2);
});
