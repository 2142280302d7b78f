import { parse } from "graphql";
import { describe, expect, it } from "vitest";
import { CompositionError, composeSupergraph } from "../compose.ts";
import { loadSupergraph } from "./supergraph-file.ts";
import { readSupergraph } from "./supergraph.ts";

const FEDERATION = `@link(url: "https://specs.apollo.dev/federation/v2.9", import: ["@composeDirective", "@policy"])`;
const AUDIT = `@link(url: "https://specs.example.com/audit/v1.0", import: ["@audit"], for: SECURITY)`;
const compose = (links: string, query: string): string =>
  composeSupergraph([
    {
      name: "films",
      typeDefs: parse(
        `extend schema ${FEDERATION} ${links} directive @audit on FIELD_DEFINITION type Query { ${query} }`,
      ),
    },
  ]);

describe("a supergraph", () => {
  it("of ours can be read", () => {
    expect(readSupergraph(loadSupergraph()).subgraphsMetadata()).toHaveLength(3);
  });

  it.each([
    [
      "a security directive of a team's own",
      compose(`${AUDIT} @composeDirective(name: "@audit")`, "a: Int @audit"),
      "audit",
    ],
    ["Apollo's @policy", compose("", `a: Int @policy(policies: [["p"]])`), "policy"],
    [
      "another version of @requiresAuth",
      loadSupergraph().replace("continuo.example/auth/v1.0", "continuo.example/auth/v1.1"),
      "auth/v1.1",
    ],
    [
      "a version of @requiresAuth of which nobody says what it is for",
      loadSupergraph().replace('continuo.example/auth/v1.0", for: SECURITY', 'continuo.example/auth/v2.0"'),
      "auth/v2.0",
    ],
    ["nothing that is a supergraph", "type Query { a: Int }", "supergraph"],
  ])("is refused with a code and a fix when it has %s", (_what, sdl, name) => {
    expect(() => readSupergraph(sdl)).toThrow(
      expect.objectContaining({ code: "E_SUPERGRAPH", message: expect.stringMatching(new RegExp(`${name}[^]*Fix: `)) }),
    );
  });

  const define = "directive @requiresAuth repeatable on FIELD_DEFINITION";
  const link = `@link(url: "https://specs.continuo.example/auth/v1.0", import: ["@requiresAuth"], for: SECURITY)`;
  const composed = `${link} @composeDirective(name: "@requiresAuth")`;
  const films = (links: string): string =>
    `extend schema ${FEDERATION} ${links} ${define} type Query { a: Int @requiresAuth }`;
  const people = `extend schema ${FEDERATION} ${composed} ${define} type Query { b: Int @requiresAuth }`;
  const both = (links: string): string =>
    composeSupergraph([
      { name: "films", typeDefs: parse(films(links)) },
      { name: "people", typeDefs: parse(people) },
    ]);

  it("is composed of what several subgraphs protect", () => {
    expect(both(composed)).toMatch(/a: Int .*@requiresAuth\n.*b: Int .*@requiresAuth\n/);
  });

  it.each([
    ["a link of which nothing is composed", () => compose(AUDIT, "a: Int @audit"), "@audit"],
    ["a directive that another subgraph composes, and this one does not", () => both(link), "@requiresAuth"],
    ["@requiresAuth without a link", () => both(""), "@requiresAuth"],
    [
      "@requiresAuth with a link that is for nothing",
      () => both(composed.replace(", for: SECURITY", "")),
      "@requiresAuth",
    ],
  ])("is not composed of %s, as that would protect nothing", (_what, composing, name) => {
    expect(composing).toThrow(CompositionError);
    expect(composing).toThrow(new RegExp(`\\[films\\] ${name} would be left out[^]*fix: link it for: SECURITY`));
  });
});
