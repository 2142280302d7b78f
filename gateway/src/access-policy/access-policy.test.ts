import { AppError } from "@continuo/errors";
import { parse } from "graphql";
import { describe, expect, it } from "vitest";
import { composeSupergraph } from "../compose.ts";
import { createPlanner } from "../graph/planner.ts";
import { createAccessPolicy, type Shown } from "./access-policy.ts";

const LINKS = `
  extend schema
    @link(url: "https://specs.apollo.dev/federation/v2.9",
      import: ["@key", "@shareable", "@composeDirective", "@interfaceObject", "@requiresScopes", { name: "@authenticated", as: "@known" }])
    @link(url: "https://specs.continuo.example/auth/v1.0", import: ["@requiresAuth"], for: SECURITY)
    @composeDirective(name: "@requiresAuth")`;
const DIRECTIVE = `directive @requiresAuth(acr: String, maxAge: Int, recent: Boolean! = false)
    repeatable on FIELD_DEFINITION | OBJECT | INTERFACE | SCALAR | ENUM`;

const compose = (...subgraphs: string[]): string =>
  composeSupergraph(
    subgraphs.map((sdl, index) => ({ name: `part${index}`, typeDefs: parse(`${LINKS} ${DIRECTIVE} ${sdl}`) })),
  );

const NOW = Date.parse("2026-11-29T12:00:00Z");
const shown = (age: number, others: Partial<Shown> = {}): Shown => ({
  scope: "account files",
  acr: "aal1",
  auth_time: NOW / 1_000 - age,
  step_up: 300,
  ...others,
});

/** `CODE REASON { details }` of the refusal; undefined when it may run. */
function judge(supergraph: string, text: string, who: Shown | undefined): string | undefined {
  const { schema, declarations } = createPlanner(supergraph);
  try {
    createAccessPolicy({ schema, declarations, now: () => NOW }).assert(parse(text), undefined, who);
    return undefined;
  } catch (cause) {
    if (!(cause instanceof AppError)) throw cause;
    return `${cause.code} ${cause.reason}${cause.details ? ` ${JSON.stringify(cause.details)}` : ""}`;
  }
}

describe("whoever asks", () => {
  const graph = compose(`type Query {
    open: Int
    mine: Int @known
    scoped: Int @requiresScopes(scopes: [["account"]])
    either: Int @requiresScopes(scopes: [["mail", "send"], ["files"]])
    both: Int @requiresScopes(scopes: [["mail", "send"]])
    strong: Int @requiresAuth(acr: "aal2")
    stronger: Int @requiresAuth(acr: "aal3")
    fresh: Int @requiresAuth(maxAge: 60)
    fresher: Int @requiresAuth(maxAge: 30)
    recent: Int @requiresAuth(recent: true)
    plain: Int @requiresAuth
  }`);

  it.each<[what: string, text: string, who: Shown | undefined, verdict: string | undefined]>([
    ["needs no token for what demands nothing", "{ open __typename }", undefined, undefined],
    ["is asked to sign in", "{ open mine }", undefined, "UNAUTHENTICATED SIGN_IN_REQUIRED"],
    ["is asked to sign in, before all else", "{ strong both }", undefined, "UNAUTHENTICATED SIGN_IN_REQUIRED"],
    ["is asked to sign in by a demand for nothing more", "{ plain }", undefined, "UNAUTHENTICATED SIGN_IN_REQUIRED"],
    ["is let in with any token", "{ mine plain }", shown(1e6, { scope: "" }), undefined],
    ["is let in with the scope", "{ scoped }", shown(1e6), undefined],
    ["is let in with one of two", "{ either }", shown(1e6), undefined],
    ["lacks a scope", "{ scoped both }", shown(0), 'FORBIDDEN INSUFFICIENT_SCOPE {"scope":"mail send"}'],
    [
      "lacks all scopes",
      "{ scoped either }",
      shown(0, { scope: "" }),
      'FORBIDDEN INSUFFICIENT_SCOPE {"scope":"account mail send"}',
    ],
    ["has no scope that merely begins so", "{ scoped }", shown(0, { scope: "accounting" }), expect.any(String)],
    ["is too weak", "{ strong }", shown(0), 'STEP_UP_REQUIRED ACR_TOO_LOW {"acrValues":["aal2"]}'],
    [
      "is too weak for the strongest of several",
      "{ strong stronger }",
      shown(0, { acr: "aal2" }),
      'STEP_UP_REQUIRED ACR_TOO_LOW {"acrValues":["aal3"]}',
    ],
    ["is stronger than need be", "{ strong }", shown(0, { acr: "aal3" }), undefined],
    ["is of an unknown class", "{ strong }", shown(0, { acr: "gold" }), expect.stringMatching(/ACR_TOO_LOW/)],
    ["is just young enough", "{ fresh }", shown(60), undefined],
    [
      "is a second too old",
      "{ fresh }",
      shown(61),
      'STEP_UP_REQUIRED AUTHENTICATION_TOO_OLD {"maxAge":60,"acrValues":["aal1"]}',
    ],
    ["is judged by the strictest field", "{ fresh fresher }", shown(31), expect.stringMatching(/"maxAge":30/)],
    ["is judged by the policy", "{ recent }", shown(301), expect.stringMatching(/TOO_OLD.*"maxAge":300/)],
    ["is judged by its own policy", "{ recent }", shown(301, { step_up: 3_600 }), undefined],
    [
      "is judged by both, the policy being stricter",
      "{ recent fresh }",
      shown(11, { step_up: 10 }),
      expect.any(String),
    ],
    ["has a token of before policies stood in it", "{ recent }", shown(1e6, { step_up: undefined }), undefined],
    [
      "is told all at once, too weak and too old",
      "{ strong fresh }",
      shown(61),
      'STEP_UP_REQUIRED ACR_TOO_LOW {"maxAge":60,"acrValues":["aal2"]}',
    ],
  ])("%s: %s", (_what, text, who, verdict) => {
    expect(judge(graph, text, who)).toEqual(verdict);
  });
});

describe("what is declared", () => {
  const two = compose(
    `type Query { a: A item: Item }
     interface Item { id: ID! note: Int @requiresAuth(maxAge: 5) }
     type A implements Item @key(fields: "id") {
       id: ID! note: Int
       age: Int @shareable @requiresAuth(maxAge: 60) @requiresScopes(scopes: [["account"]]) }
     type B implements Item @key(fields: "id") { id: ID! note: Int other: Secret }
     type Secret @requiresAuth(acr: "aal2") { id: ID }`,
    `type A @key(fields: "id") {
       id: ID!
       age: Int @shareable @requiresAuth(maxAge: 30) @requiresAuth(acr: "aal2") @requiresScopes(scopes: [["files"]]) }`,
  );

  it.each([
    ["by several subgraphs holds together", "{ a { age } }", shown(31, { acr: "aal2" }), "maxAge"],
    ["by one subgraph alone is no less", "{ a { age } }", shown(0), "ACR_TOO_LOW"],
    ["by several subgraphs asks for all scopes", "{ a { age } }", shown(0, { acr: "aal2", scope: "account" }), "files"],
    ["by an interface holds for what implements it", "{ a { note } }", shown(6), "maxAge"],
    ["of a type holds for each field of that type", "{ item { ... on B { other { id } } } }", shown(0), "ACR_TOO_LOW"],
  ])("%s: %s", (_what, text, who, verdict) => {
    expect(judge(two, text, who)).toContain(verdict);
  });

  it("holds for what several subgraphs declare, once it is met", () => {
    expect(judge(two, "{ a { age } }", shown(30, { acr: "aal2" }))).toBeUndefined();
  });

  const parts = [LINKS, "type Query { a: Int @requiresAuth }"];
  it.each([
    ["is not a class of authentication", `${DIRECTIVE} type Query { a: Int @requiresAuth(acr: "gold") }`, /acr/],
    ["asks for less than no time", `${DIRECTIVE} type Query { a: Int @requiresAuth(maxAge: -1) }`, /maxAge/],
    ["lets everybody in", `${DIRECTIVE} type Query { a: Int @requiresScopes(scopes: [[]]) }`, /scopes/],
    ["could be lost in composition", `directive @requiresAuth on FIELD_DEFINITION ${parts[1]}`, /repeatable/],
    [
      "stands where nobody looks",
      `directive @requiresAuth repeatable on ARGUMENT_DEFINITION type Query { a(b: Int @requiresAuth): Int }`,
      /ARGUMENT_DEFINITION/,
    ],
  ])("is refused at the start when it %s", (_what, sdl, why) => {
    const supergraph = composeSupergraph([{ name: "part", typeDefs: parse(LINKS + sdl) }]);
    expect(() => createPlanner(supergraph)).toThrow(
      expect.objectContaining({ code: "E_SUPERGRAPH", message: expect.stringMatching(why) }),
    );
  });
});
