import { buildSchema, loadTypeDefs } from "@continuo/subgraph";
import { type GraphQLSchema, parse, validate } from "graphql";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { toCursorReads } from "./cursor-query.ts";
import { toRelayReads } from "./relay-query.ts";
import { loadSupergraph } from "../graph/supergraph-file.ts";
import { readSources } from "./sources.ts";

const { cursors, relays } = readSources(loadSupergraph());
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
      cursors,
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
    expect(toCursorReads(operation, cursors).cursorOf(variables)).toBe(cursor);
  });

  it("is another's only where all but the position is the same, and that says nothing else", () => {
    const variables = { s: "a", n: ["mail"] };
    const own = "subscription ($s: String, $n: [String!]) { stateChanges(since: $s, namespaces: $n) { to } }";
    expect(toCursorReads(own, cursors).besides(variables)).toEqual({ n: ["mail"] });
    const twice = "subscription ($s: ID) { stateChanges(since: $s, clientId: $s) { to } }";
    expect(toCursorReads(twice, cursors).besides(variables)).toEqual(variables);
  });

  it("speaks for the client's replica, each time", () => {
    const reads = toCursorReads(`subscription ($c: ID) { stateChanges(clientId: $c) { to } }`, cursors);
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
      const reads = toCursorReads(operation, cursors);
      const owner = OWNERS[operation.includes("deviceChanged") ? "deviceChanged" : "stateChanges"];
      expect(owner).toBeDefined();
      expect(owner && validate(owner, parse(reads.text))).toEqual([]);
    }
  });

  it("does not exist for a field without a source", () => {
    expect(() => toCursorReads(`subscription { toString { to } }`, cursors)).toThrow("cannot be subscribed to");
  });
});

describe("a read of what was relayed", () => {
  it("is a valid query of the owner, which takes what came and what the client wants", () => {
    const reads = toRelayReads(
      `subscription ($names: [String!], $sealed: Boolean!) { relayedChanges(namespaces: $names) { key @include(if: $sealed) } }`,
      relays,
    );
    const owner = schemaOf("user-state");
    expect(reads).toMatchObject({
      variable: "sealed_",
      responseKey: "relayedChanges",
      variableNames: ["names", "sealed"],
    });
    expect(validate(owner, parse(reads?.text ?? ""))).toEqual([]);
    expect(toRelayReads("subscription { stateChanges { to } }", relays)).toBeUndefined();
  });
});
