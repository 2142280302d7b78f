import { join } from "node:path";
import { parse, Source } from "graphql";
import { describe, expect, it } from "vitest";
import { composedFiles, composeSupergraph, loadSubgraphs, type SubgraphDefinition } from "./compose.ts";
import { loadSupergraph } from "./graph/supergraph-file.ts";

const SERVICES = join(import.meta.dirname, "../../services");
const LINK = `extend schema @link(url: "https://specs.apollo.dev/federation/v2.9", import: ["@key", "@shareable"])\n`;

function subgraph(name: string, sdl: string): SubgraphDefinition {
  return { name, typeDefs: parse(new Source(LINK + sdl, `${name}/src/${name}.graphql`)) };
}

describe("the supergraph", () => {
  it("that is committed is what the subgraphs say", () => {
    expect(composeSupergraph(loadSubgraphs(SERVICES))).toBe(loadSupergraph());
  });

  it("is the same text each time", () => {
    expect(composeSupergraph(loadSubgraphs(SERVICES))).toBe(composeSupergraph(loadSubgraphs(SERVICES)));
  });

  it("names subgraph, file, line and fix when two subgraphs claim one field", () => {
    const two = [
      subgraph("films", `type Query { film: Film } type Film @key(fields: "id") { id: ID! title: String }`),
      subgraph("books", `type Query { book: String }\ntype Film @key(fields: "id") {\n  id: ID!\n  title: String\n}`),
    ];
    expect(() => composeSupergraph(two)).toThrow(
      /Film\.title[\s\S]*at services\/books\/src\/books\.graphql:5[\s\S]*fix: let one subgraph own the field/,
    );
  });

  it("names the place of a field that cannot be reached, though composition gives none", () => {
    const two = [
      subgraph("films", `type Query { film: Film } type Film @key(fields: "id") { id: ID! }`),
      subgraph("books", `type Film @key(fields: "isbn") {\n  isbn: ID!\n  pages: Int\n}`),
    ];
    expect(() => composeSupergraph(two)).toThrow(/at services\/books\/src\/books\.graphql:4[^]*fix: give the type/);
  });

  it("is none with a subscription that does not say where its events come from: field, file and line, and what to do", () => {
    const source = new Source("type Query { now: Int }\ntype Subscription { tick: Int }", "clock/src/clock.graphql");
    expect(() => composedFiles([{ name: "clock", typeDefs: parse(source) }])).toThrow(
      /^Subscription\.tick has to have one of @live, @relayed and @streamed\n  at services\/clock\/src\/clock\.graphql:2\n  fix: let @live/,
    );
  });
});
