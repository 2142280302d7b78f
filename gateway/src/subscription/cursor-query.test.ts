import { buildSchema, loadTypeDefs } from "@continuo/subgraph";
import { type GraphQLSchema, parse, validate } from "graphql";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { toCursorReads } from "./cursor-query.ts";
import { toRelayReads } from "./relay-query.ts";
import { RELAY_SOURCES, type Sources, SOURCES } from "./sources.ts";

const SERVICES = join(import.meta.dirname, "../../../services");
const schemaOf = (service: string): GraphQLSchema => buildSchema(loadTypeDefs(join(SERVICES, service, "src")), {});
const OWNERS: Readonly<Record<string, GraphQLSchema>> = {
  stateChanges: schemaOf("user-state"),
  deviceChanged: schemaOf("session"),
};

describe("a read after a cursor", () => {
  it("asks the owner's query, and for its own position beside what the client wants", () => {
    const reads = toCursorReads(
      `subscription Live__0($since: String, $names: [String!]) {
         changes: stateChanges(since: $since, namespaces: $names) { entries { key } to }
       }`,
      SOURCES,
    );
    expect(reads).toMatchObject({
      text: `query Live__0($names: [String!], $cursor: String) {
  changes: pullState(namespaces: $names, since: $cursor) {
    entries {
      key
    }
    to
    cursor_to: to
    cursor_hasMore: hasMore
  }
}`,
      variableNames: ["names"],
    });
    expect(reads).toMatchObject({
      responseKey: "changes",
      toKey: "cursor_to",
      hasMoreKey: "cursor_hasMore",
      cursorVariable: "cursor",
    });
  });

  it.each([
    [`subscription ($s: String) { stateChanges(since: $s) { to } }`, { s: "a" }, "a"],
    [`subscription ($s: String) { stateChanges(since: $s) { to } }`, { s: null }, null],
    [`subscription ($s: String) { stateChanges(since: $s) { to } }`, {}, null],
    [`subscription { stateChanges(since: "b") { to } }`, {}, "b"],
    [`subscription { stateChanges(since: null) { to } }`, {}, null],
    [`subscription { stateChanges { to } }`, {}, null],
  ])("starts where the client says: %s", (operation, variables, cursor) => {
    expect(toCursorReads(operation, SOURCES).cursorOf(variables)).toBe(cursor);
  });

  it("speaks for the client's replica, each time", () => {
    const reads = toCursorReads(`subscription ($c: ID) { stateChanges(clientId: $c) { to } }`, SOURCES);
    expect(reads.variableNames).toEqual(["c"]);
    expect(reads.text).toContain("clientId: $c");
  });

  it("is a valid query of the owner, whatever the client's names and conditions are", () => {
    const operations = [
      `subscription { stateChanges { to } }`,
      `subscription ($cursor: String) { cursor_to: stateChanges(since: $cursor) { cursor_to: from cursor_hasMore: epoch } }`,
      `subscription ($cursor: Boolean!, $cursor_: String) { stateChanges(since: $cursor_) { entries @include(if: $cursor) { key } } }`,
      `subscription ($on: Boolean!) { stateChanges { ...F } } fragment F on StateBatch { entries @skip(if: $on) { key } }`,
      `subscription ($c: ID, $n: [String!]) { stateChanges(since: "x", clientId: $c, namespaces: $n) { to reset } }`,
      `subscription ($s: String) { deviceChanged(since: $s) { devices { __typename id } } }`,
    ];
    for (const operation of operations) {
      const reads = toCursorReads(operation, SOURCES);
      const owner = OWNERS[operation.includes("deviceChanged") ? "deviceChanged" : "stateChanges"];
      expect(owner).toBeDefined();
      expect(owner && validate(owner, parse(reads.text))).toEqual([]);
    }
  });

  it("does not exist for a field without a source", () => {
    expect(() => toCursorReads(`subscription { toString { to } }`, SOURCES)).toThrow("cannot be subscribed to");
  });
});

describe("every subscription of the graph", () => {
  it.each(Object.entries(OWNERS))("%s has a query that takes its arguments and gives its type", (name, owner) => {
    const sources: Sources = SOURCES;
    const field = owner.getSubscriptionType()?.getFields()[name];
    const query = owner.getQueryType()?.getFields()[sources[name]?.query ?? ""];
    expect(String(query?.type)).toBe(String(field?.type));
    const argumentsOf = (of: typeof field): string[] =>
      (of?.args ?? []).map((argument) => `${argument.name}: ${String(argument.type)}`);
    expect(argumentsOf(query)).toEqual(expect.arrayContaining(argumentsOf(field)));
  });

  it("has a source", () => {
    const fields = Object.values(OWNERS).flatMap((owner) =>
      Object.keys(owner.getSubscriptionType()?.getFields() ?? {}),
    );
    expect(Object.keys({ ...SOURCES, ...RELAY_SOURCES }).sort()).toEqual(fields.sort());
  });

  it.each(Object.entries(RELAY_SOURCES))(
    "%s, of which nothing is kept, has a query that opens what was relayed",
    (name) => {
      const owner = schemaOf("user-state");
      const reads = toRelayReads(
        `subscription ($names: [String!], $sealed: Boolean!) { ${name}(namespaces: $names) { key @include(if: $sealed) } }`,
        RELAY_SOURCES,
      );
      expect(reads).toMatchObject({ variable: "sealed_", responseKey: name, variableNames: ["names", "sealed"] });
      expect(validate(owner, parse(reads?.text ?? ""))).toEqual([]);
      expect(String(owner.getQueryType()?.getFields()[reads?.relay.query ?? ""]?.type)).toBe(
        String(owner.getSubscriptionType()?.getFields()[name]?.type),
      );
      expect(toRelayReads("subscription { stateChanges { to } }", RELAY_SOURCES)).toBeUndefined();
    },
  );
});
