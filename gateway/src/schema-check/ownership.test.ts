import { parse, Source } from "graphql";
import { describe, expect, it } from "vitest";
import { FILMS, PEOPLE } from "../fixtures/graph-repository.ts";
import { findTrespasses, ownersOf } from "./ownership.ts";

/** The two subgraphs, with `films` otherwise. */
function graph({ films = FILMS, people = PEOPLE }: { films?: string; people?: string }) {
  return Object.entries({ people, films }).map(([name, sdl]) => ({
    name,
    typeDefs: parse(new Source(sdl, `${name}/src/${name}.graphql`)),
  }));
}

const extended = (fields: string, heading = `extend type User @key(fields: "id")`): string =>
  FILMS.replace(/extend type User[^}]*}/, `${heading} {\n  id: ID!\n  ${fields}\n}`);

describe("of a graph in which each keeps to their own", () => {
  it("entities belong to those who define them", () => {
    expect(Object.fromEntries(ownersOf(graph({})))).toEqual({ Film: "films", User: "people" });
    expect(findTrespasses(graph({}))).toEqual([]);
  });

  it.each([
    ["fields of their own", extended("watched: [Film!]! seconds: Int")],
    ["a key that cannot be resolved", extended("", `extend type User @key(fields: "id", resolvable: false)`)],
    ["a field of the owner's, as it is", extended("email: String! @external")],
    ["a field that the owner lets go", extended(`name: String @override(from: "people")`)],
    ["a type that both have, in another order and with other words", FILMS.replace("size:", `"Many."\n  size:`)],
  ])("others may bring %s", (_what, films) => {
    expect(findTrespasses(graph({ films }))).toEqual([]);
  });
});

describe("a trespass is told with place and fix:", () => {
  it.each([
    ["a second owner", FILMS.replace("extend type User", "type User"), "OWNER_UNKNOWN", /people and films/],
    ["a key of one's own", extended("nick: ID!", `extend type User @key(fields: "nick")`), "NOT_THE_OWNER", /"nick"/],
    ["another type of a field", extended("email: String @external"), "NOT_THE_OWNER", /User\.email otherwise/],
    ["another argument", extended("email(short: Boolean): String!"), "NOT_THE_OWNER", /User\.email otherwise/],
    ["a hidden field", extended("email: String! @inaccessible"), "NOT_THE_OWNER", /hides User\.email/],
    ["a field taken over", extended(`email: String! @override(from: "people")`), "NOT_THE_OWNER", /takes User\.email/],
    [
      "a hidden type",
      extended("", `extend type User @key(fields: "id") @inaccessible`),
      "NOT_THE_OWNER",
      /hides User,/,
    ],
    ["an interface", extended("", `extend type User implements Named @key(fields: "id")`), "NOT_THE_OWNER", /Named/],
    ["another copy of a type", FILMS.replace("size: Int!", "size: Int"), "COPIES_DIFFER", /Page/],
    ["a hidden copy", FILMS.replace("size: Int!", "size: Int! @inaccessible"), "COPIES_DIFFER", /Page/],
    ["more in a copy", FILMS.replace("size: Int!", "size: Int! more: Int"), "COPIES_DIFFER", /Page/],
  ])("%s", (_what, films, code, message) => {
    const faults = findTrespasses(graph({ films }));
    expect(faults).toMatchObject([{ code, message: expect.stringMatching(message), fix: expect.any(String) }]);
    expect(faults[0]?.places.join()).toMatch(/services\/films\/src\/films\.graphql:\d+/);
  });

  it("an entity that nobody defines", () => {
    const people = PEOPLE.replace("type User", "extend type User");
    expect(findTrespasses(graph({ people }))).toMatchObject([{ code: "OWNER_UNKNOWN" }]);
  });
});
