import { spawnSync } from "node:child_process";
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createGraphRepository, FILMS, type GraphRepository, PEOPLE } from "../fixtures/graph-repository.ts";
import { hashOf } from "../trusted-documents/trusted-documents.ts";
import { runSchemaCheck } from "./command.ts";

const hasGit = spawnSync("git", ["--version"]).status === 0;

describe.skipIf(!hasGit)("npm run check:schema", () => {
  let repository: GraphRepository;
  beforeEach(async () => {
    repository = await createGraphRepository();
  });
  afterEach(() => repository[Symbol.dispose]());

  const check = (...args: string[]): ReturnType<typeof runSchemaCheck> =>
    runSchemaCheck(args, repository.root, repository.modules);

  it("lets pass what is as on main", async () => {
    const { exitCode, text } = await check();
    expect(text).toMatch(/^Compared with [0-9a-f]{9}\.\nThe graph may be merged\.$/);
    expect(exitCode).toBe(0);
  });

  it("names a field that is gone, the documents that ask for it and no others", async () => {
    await repository.change({ people: PEOPLE.replace("  email: String!\n", "") });
    const { exitCode, text } = await check();
    expect(exitCode).toBe(1);
    expect(text).toContain(
      "BREAKING in API: Field 'email' was removed from object type 'User'\n" +
        "  used by query Mine\n" +
        "  if it is meant, in a commit: Accept-Breaking-Change: User.email",
    );
    expect(text).not.toContain("Titles");
  });

  it.each([
    ["an argument that must be given", FILMS.replace("first: Int = 5", "first: Int!"), ["Mine", "Titles"]],
    ["a field that may be null", FILMS.replace("title: String!", "title: String"), ["Titles"]],
    ["a value of an enum that is gone", FILMS.replace("  DRAMA\n", ""), ["Mine"]],
  ])("finds %s", async (_what, films, names) => {
    await repository.change({ films });
    const { exitCode, text } = await check();
    expect(exitCode).toBe(1);
    expect(text.match(/(?<=used by query )\w+/g)?.toSorted()).toEqual(names);
  });

  it.each([
    ["says what may surprise clients", FILMS.replace("DRAMA", "DRAMA\n  NOIR"), /^DANGEROUS in API: .*NOIR/],
    ["says nothing of what is added", FILMS.replace("title:", "year: Int\n  title:"), /^Compared with/],
  ])("%s, and lets it pass", async (_what, films, text) => {
    await repository.change({ films });
    expect(await check()).toMatchObject({ exitCode: 0, text: expect.stringMatching(text) });
  });

  it("tells what only the gateway would miss, under the subgraph's name", async () => {
    await repository.change({
      people: PEOPLE.replace(/ {2}name: String @tag.*\n/, ""),
      films: FILMS.replace("  watched", "  name: String\n  watched"),
    });
    const { exitCode, text } = await check();
    expect(text).toMatch(/BREAKING in people: Field 'name' was removed/);
    expect(text).not.toContain("in API");
    expect(exitCode).toBe(1);
  });

  it("lets pass a directive of schemas that is gone, as no document has it, and tells of one that documents have", async () => {
    const directives = "directive @note on FIELD_DEFINITION directive @passive on QUERY";
    await repository.change({ people: `${PEOPLE} ${directives}` });
    repository.commit("Notes");
    repository.git("branch", "--force", "main");
    await repository.change({ people: PEOPLE });
    const { text } = await check();
    expect(text).toContain("BREAKING in people: Directive 'passive' was removed");
    expect(text).not.toContain("note");
  });

  it("tells that a type has another owner now", async () => {
    await repository.change({
      people: PEOPLE.replace("type User", "extend type User"),
      films: FILMS.replace("extend type User", "type User"),
    });
    expect((await check()).text).toContain("BREAKING in films: User was people's");
  });

  it("lets pass a breaking change that a commit accepts, once and by its path", async () => {
    await repository.change({ people: PEOPLE.replace("  email: String!\n", "") });
    repository.commit("E-mail goes\n\nAccept-Breaking-Change: User.name");
    expect((await check()).exitCode).toBe(1);
    repository.git("commit", "--quiet", "--amend", "--message", "E-mail goes\n\nAccept-Breaking-Change: User.email");
    expect(await check()).toMatchObject({ exitCode: 0, text: expect.stringContaining("BREAKING, accepted in API") });
    repository.git("branch", "--force", "main");
    expect(await check()).toMatchObject({ exitCode: 0, text: expect.stringMatching(/^Compared/) });
  });

  it("lists what does not compose with subgraph, line and fix, and a trespass likewise", async () => {
    const films = join(repository.root, "services/films/src/films.graphql");
    await repository.change({ films: FILMS.replace("extend type User", "type User") });
    expect(await check()).toMatchObject({
      exitCode: 1,
      text: expect.stringMatching(
        /E_COMPOSITION {2}OWNER_UNKNOWN[^]*at services\/films\/src\/films\.graphql:14\n.*people\.graphql:5\n {2}fix: write/,
      ),
    });
    writeFileSync(films, `extend type User @key(fields: "id") {\n  id: ID!\n  email: String!\n}`);
    expect(await check()).toMatchObject({
      exitCode: 1,
      text: expect.stringMatching(/E_COMPOSITION[^]*films\.graphql:\d/),
    });
    writeFileSync(films, "type {");
    expect(await check()).toMatchObject({
      exitCode: 1,
      text: expect.stringMatching(/Syntax Error[^]*films\.graphql:1\n/),
    });
  });

  it.each(["gateway/supergraph.graphql", "services/films/api.graphql", "gateway/trusted-documents.json"])(
    "finds %s stale",
    async (file) => {
      writeFileSync(join(repository.root, file), "{}");
      const { exitCode, text } = await check();
      expect(text).toMatch(new RegExp(`STALE_FILE: ${file} .*\n  at .*\n  fix: npm run`));
      expect(exitCode).toBe(1);
    },
  );

  it("compares with another commit when told to, and refuses one that is none", async () => {
    await repository.change({ films: FILMS.replace("title: String!", "title: String") });
    repository.commit("Titles may be missing");
    expect((await check("--against", "HEAD")).exitCode).toBe(0);
    expect((await check("--against", "main")).exitCode).toBe(1);
    expect(await check("--against", "nowhere")).toMatchObject({
      exitCode: 2,
      text: expect.stringContaining("nowhere"),
    });
    expect((await check("--agianst", "main")).exitCode).toBe(2);
  });

  it("names documents of clients that live elsewhere too, and refuses a manifest that is none", async () => {
    const manifest = join(repository.root, "others.json");
    const other = "query Elsewhere { me { email } }";
    writeFileSync(manifest, JSON.stringify({ [hashOf(other)]: other }));
    await repository.change({ people: PEOPLE.replace("  email: String!\n", "") });
    expect((await check("--documents", manifest)).text).toContain("used by query Elsewhere");
    writeFileSync(manifest, "[]");
    expect((await check("--documents", manifest)).exitCode).toBe(2);
  });

  it("gives the report as JSON", async () => {
    const { text } = await check("--json");
    expect(JSON.parse(text)).toMatchObject({
      ok: true,
      faults: [],
      changes: [],
      against: { commit: expect.any(String) },
    });
  });

  it("passes in a fresh clone", async () => {
    const clone = join(repository.root, "clone");
    repository.git("clone", "--quiet", "--branch", "main", repository.root, clone);
    expect(await runSchemaCheck([], clone, repository.modules)).toMatchObject({
      exitCode: 0,
      text: expect.stringMatching(/^Compared with/),
    });
  });

  it.each([
    ["a shallow clone of a branch", "git fetch --unshallow"],
    ["a folder without git", "no git clone"],
    ["a main from before there were composed files", "no composed files"],
  ])("in %s, says that it did not compare", async (what, why) => {
    let { root } = repository;
    if (what.startsWith("a shallow")) {
      root = join(repository.root, "clone");
      repository.git("commit", "--quiet", "--allow-empty", "--message", "Something");
      repository.git("clone", "--quiet", "--depth", "1", "--branch", "change", `file://${repository.root}`, root);
    } else if (what.startsWith("a folder")) rmSync(join(root, ".git"), { recursive: true });
    else {
      repository.git("switch", "--quiet", "--orphan", "bare");
      repository.git("commit", "--quiet", "--allow-empty", "--message", "Nothing");
      repository.git("branch", "--force", "main");
      await repository.change({ people: PEOPLE, films: FILMS });
    }
    expect(await runSchemaCheck([], root, repository.modules)).toMatchObject({
      exitCode: 0,
      text: expect.stringMatching(new RegExp(`^NOT COMPARED: .*${why}`)),
    });
  });
});
