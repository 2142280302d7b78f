/** Each declaration in this graph is a scope named by its place, so that a demand tells which of them were counted. */
import fc from "fast-check";
import {
  type DocumentNode,
  type FragmentDefinitionNode,
  getNamedType,
  getOperationAST,
  type GraphQLNamedType,
  isAbstractType,
  isInterfaceType,
  isObjectType,
  Kind,
  parse,
  type SelectionSetNode,
} from "graphql";
import { describe, expect, it } from "vitest";
import { composeSupergraph } from "../compose.ts";
import { arbitraryOperations } from "../fixtures/arbitrary-operations.ts";
import { createPlanner } from "../graph/planner.ts";
import { compileDemand } from "./compile-demand.ts";

const DECLARED = "@requiresScopes(scopes: [[$&]])";
const SDL = `
  extend schema @link(url: "https://specs.apollo.dev/federation/v2.9", import: ["@requiresScopes"])
  type Query { open: Int shut: Int "Query.shut" item: Item items(first: Int): [Item!]! any: Any a: A b: B size: Size }
  type Mutation { make: A "Mutation.make" drop(id: ID!): Int }
  interface Item { id: ID! name: String of: B size: Size }
  type A implements Item "A" { id: ID! name: String "A.name" of: B size: Size price: Money }
  type B implements Item { id: ID! name: String "B.name" of: B "B.of" size: Size secret: Int "B.secret" }
  type C { id: ID! "C.id" }
  union Any = A | B | C
  enum Size "Size" { S L }
  scalar Money "Money"`.replaceAll(/"[A-Z][\w.]*"/g, DECLARED);
const PLACES = new Set([...SDL.matchAll(/\[\["([\w.]+)"\]\]/g)].map(([, place]) => place));

const { schema, declarations } = createPlanner(composeSupergraph([{ name: "shop", typeDefs: parse(SDL) }]));
const counted = (document: DocumentNode, name?: string): string[] => {
  const demand = compileDemand({ schema, declarations }, document, name);
  return [...new Set(demand?.scopes.flat(2))].sort();
};

/** Finds the declarations along the operation's fields by a naive walk, to compare with. */
function walk(document: DocumentNode): string[] {
  const found = new Set<string>();
  const fragments = new Map<string, FragmentDefinitionNode>();
  for (const node of document.definitions)
    if (node.kind === Kind.FRAGMENT_DEFINITION) fragments.set(node.name.value, node);
  const note = (place: string): unknown => PLACES.has(place) && found.add(place);
  const objects = (type: GraphQLNamedType): readonly GraphQLNamedType[] =>
    isAbstractType(type) ? schema.getPossibleTypes(type) : [type];

  function go({ selections }: SelectionSetNode, type: GraphQLNamedType): void {
    for (const node of selections) {
      if (node.kind !== Kind.FIELD) {
        const fragment = node.kind === Kind.INLINE_FRAGMENT ? node : fragments.get(node.name.value);
        if (!fragment) continue;
        const condition = fragment.typeCondition && schema.getType(fragment.typeCondition.name.value);
        go(fragment.selectionSet, condition ?? type);
        continue;
      }
      const name = node.name.value;
      for (const object of objects(type)) {
        note(object.name);
        note(`${object.name}.${name}`);
      }
      const fields = isObjectType(type) || isInterfaceType(type) ? type.getFields() : {};
      const returned = fields[name] && getNamedType(fields[name].type);
      if (!returned) continue;
      // Federation copies an implementation's declarations to its interface.
      for (const each of isInterfaceType(returned) ? objects(returned) : [returned]) note(each.name);
      if (node.selectionSet) go(node.selectionSet, returned);
    }
  }

  const operation = getOperationAST(document);
  const root = operation && schema.getRootType(operation.operation);
  if (operation && root) go(operation.selectionSet, root);
  return [...found].sort();
}

describe("what an operation demands", () => {
  it.each<[text: string, places: string[], name?: string]>([
    ["{ open }", []],
    ["{ open shut }", ["Query.shut"]],
    ["{ x: shut }", ["Query.shut"]],
    ["query ($if: Boolean!) { shut @include(if: $if) }", ["Query.shut"]],
    ["{ a { id } }", ["A"]],
    ["{ a { price } }", ["A", "Money"]],
    ["{ size }", ["Size"]],
    ["{ b { id } }", []],
    ["{ b { __typename } }", []],
    ["{ item { name } }", ["A", "A.name", "B.name"]],
    ["{ item { ... on B { secret } } }", ["A", "B.secret"]],
    ["{ any { __typename } }", ["A"]],
    ["{ any { ... on C { id } } }", ["C.id"]],
    ["{ any { ...I } } fragment I on Item { of { ...S } } fragment S on B { secret }", ["A", "B.of", "B.secret"]],
    ["{ __schema { types { name } } }", []],
    ["{ b { ...S } } fragment S on B { secret } fragment Unused on Query { shut }", ["B.secret"]],
    ["query One { open } query Two { shut }", [], "One"],
    ["query One { open } query Two { shut }", ["Query.shut"], "Two"],
    ["mutation { make { id } }", ["A", "Mutation.make"]],
  ])("%s: %o", (text, places, name) => {
    const document = parse(text, { noLocation: true });
    expect(counted(document, name)).toEqual(places);
  });

  it("is what a step by step walk finds, for operations that nobody thought of", () => {
    let some = 0;
    fc.assert(
      fc.property(arbitraryOperations(schema), ({ document }) => {
        const expected = walk(document);
        some += Math.sign(expected.length);
        expect(counted(document)).toEqual(expected);
      }),
      { numRuns: 400 },
    );
    expect(some).toBeGreaterThan(200);
  });
});
