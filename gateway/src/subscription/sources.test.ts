import { activityTopic, devicesTopic, relayTopic, stateTopic } from "@continuo/signals";
import { parse } from "graphql";
import { describe, expect, it } from "vitest";
import { composeSupergraph } from "../compose.ts";
import { loadSupergraph } from "../graph/supergraph-file.ts";
import { LiveFieldError, readSources, type Sources } from "./sources.ts";

const viewer = {
  userId: "u",
  sessionId: "s",
  deviceId: "d",
  applicationId: "a",
  acr: "aal1",
  amr: [],
  authTime: 0,
};

/** One subgraph: its query and subscription, what they give, and another subgraph beside it. */
function compose(parts: { query?: string; subscription: string; page?: string }): string {
  const {
    query = "invoiceChanges(since: String, first: Int! = 100): Page!",
    subscription,
    page = "to: String! hasMore: Boolean!",
  } = parts;
  const billing = `
    extend schema
      @link(url: "https://specs.apollo.dev/federation/v2.9", import: ["@composeDirective", "@key", "@provides", "@external"])
      @link(url: "https://specs.continuo.example/live/v1.0", import: ["@live", "@relayed", "@streamed"])
      @composeDirective(name: "@live")
      @composeDirective(name: "@relayed")
      @composeDirective(name: "@streamed")
    directive @live(query: String!, topic: String!, scope: String! = "VIEWER", ownWith: String) on FIELD_DEFINITION
    directive @relayed(query: String!, topic: String!) on FIELD_DEFINITION
    directive @streamed(scope: String! = "VIEWER", shared: Boolean! = true) on FIELD_DEFINITION
    type Page { ${page} }
    type Customer @key(fields: "id") { id: ID! name: String @external }
    type Query { invoices: Int customer: Customer @provides(fields: "name") ${query} }
    type Subscription { ${subscription} }`;
  const other = `
    extend schema @link(url: "https://specs.apollo.dev/federation/v2.9", import: ["@key", "@shareable"])
    type Query { foreign: Int }
    type Customer @key(fields: "id") { id: ID! name: String @shareable }`;
  const subgraphs = { billing, other };
  return composeSupergraph(Object.entries(subgraphs).map(([name, sdl]) => ({ name, typeDefs: parse(sdl) })));
}

function inWords(sources: Sources["cursors"]): unknown {
  return Object.fromEntries([...sources].map(([field, { query, topic }]) => [field, [query, topic(viewer)]]));
}

describe("where events come from", () => {
  it("is said by the owner of each subscription, with the topics that it publishes", () => {
    const { cursors, relays } = readSources(loadSupergraph());
    expect(inWords(cursors)).toEqual({
      stateChanges: ["pullState", stateTopic("u")],
      activityChanged: ["activityChanges", activityTopic("u")],
      deviceChanged: ["deviceChanges", devicesTopic("u")],
    });
    expect(inWords(relays)).toEqual({ relayedChanges: ["relayedChanges", relayTopic("u")] });
  });

  it("may be anything that a new subgraph adds", () => {
    const sdl = compose({
      subscription: `invoiceChanged(since: String): Page!
        @live(query: "invoiceChanges", topic: "invoices:{applicationId}:{userId}")`,
    });
    expect(inWords(readSources(sdl).cursors)).toEqual({ invoiceChanged: ["invoiceChanges", "invoices:a:u"] });
  });

  it("may be the owner itself", () => {
    const sdl = compose({
      subscription: 'told: Page @streamed ownTold(of: ID!): Page @streamed(scope: "PUBLIC", shared: false)',
    });
    expect(Object.fromEntries(readSources(sdl).streams)).toEqual({
      told: { scope: "VIEWER", shared: true },
      ownTold: { scope: "PUBLIC", shared: false },
    });
  });

  const live = (query = "invoiceChanges", topic = "invoices:{userId}", more = ""): string =>
    `@live(query: "${query}", topic: "${topic}" ${more})`;
  const scoped = (scope: string, topic: string, more = ""): { subscription: string } => ({
    subscription: `changed(first: Int! = 100): Page! ${live(undefined, topic, `scope: "${scope}" ${more}`)}`,
  });

  it.each([
    ["PUBLIC", "news"],
    ["APPLICATION", "news:{applicationId}"],
    ["USER", "news:{applicationId}:{userId}"],
    ["VIEWER", "news:{userId}:{sessionId}:{deviceId}"],
  ])("is shared by whom it says, and no more than they have in common is in the topic: %s", (scope, topic) => {
    const source = readSources(compose(scoped(scope, topic, `ownWith: "first"`))).cursors.get("changed");
    expect(source).toMatchObject({ scope, ownWith: "first" });
  });

  it.each([
    ["nothing is said", { subscription: "changed: Page!" }, "has to have one of @live, @relayed and @streamed"],
    [
      "two things are said",
      { subscription: `changed: Page! ${live()} @relayed(query: "invoiceChanges", topic: "i")` },
      "has to have one of @live, @relayed and @streamed",
    ],
    [
      "a person is streamed to",
      { subscription: `changed: Page! @streamed(scope: "USER")` },
      "Subscription.changed @streamed",
    ],
    ["it is streamed and live", { subscription: `changed: Page! @streamed ${live()}` }, "has to have one of @live"],
    ["the query is missing", { subscription: `changed: Page! ${live("nothing")}` }, "there is no Query.nothing"],
    ["the query is another subgraph's", { subscription: `changed: Int ${live("foreign")}` }, "is of another subgraph"],
    [
      "the query takes no cursor",
      { query: "invoiceChanges: Page!", subscription: `changed: Page! ${live()}` },
      "Query.invoiceChanges has to take (since: String)",
    ],
    [
      "the query does not take the client's argument",
      { subscription: `changed(state: String): Page! ${live()}` },
      "Query.invoiceChanges has to take (state: String)",
    ],
    [
      "the query demands what nobody gives",
      { query: "invoiceChanges(since: String, first: Int!): Page!", subscription: `changed: Page! ${live()}` },
      "Query.invoiceChanges must not demand (first:)",
    ],
    [
      "the query gives something else",
      { subscription: `changed: Page ${live()}` },
      "Query.invoiceChanges has to give Page",
    ],
    [
      "the query provides less than the subscription",
      {
        page: "to: String! hasMore: Boolean! customer: Customer",
        subscription: `changed: Page! @provides(fields: "customer { name }") ${live()}`,
      },
      "Query.invoiceChanges has to say the same @provides",
    ],
    [
      "the page does not say how far it came",
      { page: "hasMore: Boolean!", subscription: `changed: Page! ${live()}` },
      "Page! has to have to: String!",
    ],
    [
      "the topic is none",
      { subscription: `changed: Page! ${live(undefined, "Invoices of {userId}")}` },
      "a topic such as",
    ],
    [
      "the topic names what a viewer has not",
      { subscription: `changed: Page! ${live(undefined, "i:{email}")}` },
      "{userId}",
    ],
    ["the scope is none", scoped("TENANT", "i"), "PUBLIC"],
    ["a person's is for everybody", scoped("PUBLIC", "i:{userId}"), "of scope PUBLIC the topic must not name {userId}"],
    ["an application's is for everybody", scoped("PUBLIC", "i:{applicationId}"), "must not name {applicationId}"],
    ["a person's is for an application", scoped("APPLICATION", "i:{userId}"), "must not name {userId}"],
    ["a session's is for a person", scoped("USER", "i:{sessionId}"), "must not name {sessionId}"],
    [
      "what makes it one's own is no argument",
      scoped("USER", "i:{userId}", `ownWith: "client"`),
      "has to be an argument",
    ],
    [
      "what is relayed is no list",
      {
        query: "opened(sealed: [String!]!): Page!",
        subscription: `changed: Page! @relayed(query: "opened", topic: "i:{userId}")`,
      },
      "Query.opened has to give a list",
    ],
  ])("is refused when %s", (_case, parts, fault) => {
    expect(() => readSources(compose(parts))).toThrow(LiveFieldError);
    expect(() => readSources(compose(parts))).toThrow(fault);
  });
});
