/** `npm run new:subgraph` in a copy of this repository: its result composes, typechecks and passes its tests. */
import { execFile, spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { repository } from "./process.ts";

const root = mkdtempSync(join(tmpdir(), "continuo-new-subgraph-"));
const bin = join(root, "node_modules/.bin");
const fakes = join(root, "fakes");
const LEFT_OUT = new Set([".git", ".data", "node_modules", "bench/node_modules", "bench/peers"]);
const EDITED = ["embedded/src/further-subgraphs.ts", "embedded/package.json", "docker-compose.yml", "README.md"];

beforeAll(() => {
  cpSync(repository, root, {
    recursive: true,
    // pnpm's links are relative, so they still work in the copy.
    verbatimSymlinks: true,
    filter: (path) => !LEFT_OUT.has(relative(repository, path)),
  });
  symlinkSync(join(repository, "node_modules"), join(root, "node_modules"));
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

const settings = {
  cwd: root,
  encoding: "utf8",
  env: { ...process.env, PATH: `${fakes}:${bin}:${process.env["PATH"]}` },
} as const;

function run(program: string, ...args: readonly string[]): { readonly status: number | null; readonly output: string } {
  const { status, stdout, stderr } = spawnSync(program, args, settings);
  return { status, output: `${stdout}${stderr}` };
}

/** Runs all commands at once. Throws with the output of one that fails. */
async function runTogether(...commands: readonly (readonly [string, ...string[]])[]): Promise<void> {
  await Promise.all(
    commands.map(([program, ...args]) =>
      promisify(execFile)(program, args, settings).catch((cause: { stdout: string; stderr: string }) => {
        throw new Error(`${program} ${args.join(" ")}:\n${cause.stdout}${cause.stderr}`);
      }),
    ),
  );
}

const newSubgraph = (...args: readonly string[]) => run("node", "setup/run.mjs", "new:subgraph", ...args);
const edited = (): string[] => EDITED.map((file) => readFileSync(join(root, file), "utf8"));

test.each<[name: string, code: string, words: string]>([
  ["", "E_SUBGRAPH_NAME", "kebab-case"],
  ["Gift Cards", "E_SUBGRAPH_NAME", "kebab-case"],
  ["user-state", "E_SUBGRAPH_TAKEN", "there is a services/user-state"],
  ["process", "E_SUBGRAPH_TAKEN", "there is a package @continuo/process"],
  ["device", "E_SUBGRAPH_TAKEN", "the graph has a type Device"],
  ["redis", "E_SUBGRAPH_TAKEN", "REDIS_URL is a variable of the gateway"],
])("the name %j is refused with %s", (name, code, words) => {
  const before = edited();
  const { status, output } = newSubgraph(name);
  expect([status, output]).toEqual([1, expect.stringContaining(`${code}  `)]);
  expect(output).toContain(words);
  expect(edited()).toEqual(before);
});

test("the command says how it is used", () => {
  const { status, output } = newSubgraph("--help");
  expect([status, output]).toEqual([0, expect.stringContaining("npm run new:subgraph -- <name>")]);
});

test("when there is no place for it, or a later step fails, all is as it was", () => {
  const before = edited();
  const composeFile = join(root, "docker-compose.yml");
  writeFileSync(
    composeFile,
    readFileSync(composeFile, "utf8").replace("# npm run new:subgraph adds", "# somebody adds"),
  );
  const changed = edited();
  expect(newSubgraph("gift-cards").output).toContain("E_SUBGRAPH_PLACE  docker-compose.yml has not its 3 lines");
  expect(edited()).toEqual(changed);
  writeFileSync(composeFile, before[EDITED.indexOf("docker-compose.yml")] ?? "");

  mkdirSync(fakes);
  writeFileSync(join(fakes, "npx"), "#!/bin/sh\necho ENOSPC\nexit 1\n", { mode: 0o755 });
  // The folder of the pinned Node, first on a child's PATH, has no npx, so this fake one is found.
  const { status, output } = newSubgraph("gift-cards");
  rmSync(fakes, { recursive: true });
  expect([status, output]).toEqual([1, expect.stringContaining("E_DISK_FULL")]);
  expect(edited()).toEqual(before);
  expect(existsSync(join(root, "services/gift-cards"))).toBe(false);
});

test("a subgraph is made that composes, typechecks, passes its test and has its place in docker-compose.yml", async () => {
  const supergraph = (): string => readFileSync(join(root, "gateway/supergraph.graphql"), "utf8");
  const directives = (): string[] => supergraph().match(/^directive @\w+/gm) ?? [];
  const before = directives();
  expect(newSubgraph("gift-cards", "--files-only")).toMatchObject({ status: 0 });
  // As an install would.
  cpSync(join(root, "services/session/node_modules"), join(root, "services/gift-cards/node_modules"), {
    recursive: true,
    verbatimSymlinks: true,
  });
  symlinkSync("../../../services/gift-cards", join(root, "embedded/node_modules/@continuo/gift-cards"));
  await runTogether(["oxfmt", "services/gift-cards", "embedded/src/further-subgraphs.ts", "embedded/package.json"]);
  await runTogether(["node", "gateway/src/compose-main.ts"], ["graphql-codegen", "--config", "codegen.ts"]);
  await runTogether(
    ["tsc", "-p", "."],
    ["knip"],
    ["vitest", "run", "--project", "unit", "services/gift-cards", "docker-compose.test.ts"],
  );
  expect(supergraph()).toContain(`GIFT_CARDS @join__graph(name: "gift-cards"`);
  // An operation directive is in the graph only if every subgraph defines it.
  expect(directives()).toEqual(before);
});
