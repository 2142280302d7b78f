/** The licences of what we ship: every package that runs in production, and all their dependencies. */
import { existsSync, readdirSync, readFileSync, realpathSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { z } from "zod";

const ALLOWED = new Set([
  "0BSD",
  "Apache-2.0",
  "BlueOak-1.0.0",
  "BSD-2-Clause",
  "BSD-3-Clause",
  "CC0-1.0",
  "ISC",
  "MIT",
  "PostgreSQL",
  "Python-2.0",
  "Unlicense",
]);

/** Elastic-2.0 is source-available: README.md tells users what that means for them. */
const ELASTIC = [
  "@apollo/composition",
  "@apollo/federation-internals",
  "@apollo/query-graphs",
  "@apollo/query-planner",
];

const names = z.record(z.string(), z.string()).default({});
const Manifest = z.object({
  name: z.string(),
  version: z.string(),
  private: z.boolean().default(false),
  license: z.union([z.string(), z.object({ type: z.string() }).transform(({ type }) => type)]).optional(),
  dependencies: names,
  optionalDependencies: names,
  peerDependencies: names,
  peerDependenciesMeta: z.record(z.string(), z.object({ optional: z.boolean().default(false) })).default({}),
});
type Manifest = z.infer<typeof Manifest>;

/** Everything installed that `rooms` need to run, by its location. Optional packages for other platforms are left out. */
function loadShipped(rooms: readonly string[]): Map<string, Manifest> {
  const found = new Map<string, Manifest>();
  const waiting = rooms.map((room) => realpathSync(room));
  for (let directory = waiting.pop(); directory !== undefined; directory = waiting.pop()) {
    if (found.has(directory)) continue;
    const manifest = Manifest.parse(JSON.parse(readFileSync(join(directory, "package.json"), "utf8")));
    found.set(directory, manifest);
    const { dependencies, optionalDependencies, peerDependencies, peerDependenciesMeta } = manifest;
    // A package that uses an optional peer also depends on it directly.
    const peers = Object.keys(peerDependencies).filter((name) => peerDependenciesMeta[name]?.optional !== true);
    for (const name of new Set([...Object.keys(dependencies), ...Object.keys(optionalDependencies), ...peers])) {
      const place = locate(name, directory);
      if (place !== undefined) waiting.push(place);
      else if (!(name in optionalDependencies))
        throw new Error(`${name}, which ${manifest.name} needs, is not installed`);
    }
  }
  return found;
}

/** As Node resolves it: in the nearest `node_modules` upwards. */
function locate(name: string, from: string): string | undefined {
  const place = join(from, "node_modules", name);
  if (existsSync(join(place, "package.json"))) return realpathSync(place);
  return dirname(from) === from ? undefined : locate(name, dirname(from));
}

/** `(MIT AND BSD-3-Clause)` needs both, `A OR B` either one. */
function isAllowed(licence: string): boolean {
  const bare = licence.replace(/^\((.*)\)$/, "$1");
  if (bare.includes(" OR ")) return bare.split(" OR ").some(isAllowed);
  return bare.split(/ AND /).every((part) => ALLOWED.has(part));
}

const root = import.meta.dirname;
const rooms = [
  "gateway",
  "embedded",
  ...["services", "packages"].flatMap((group) => readdirSync(join(root, group)).map((room) => join(group, room))),
];
const shipped = [
  ...loadShipped(rooms.filter((room) => room !== "packages/testkit").map((room) => join(root, room))).values(),
];
const foreign = shipped.filter((manifest) => !manifest.private);
const licenceOf = ({ license }: Manifest): string => license ?? "none";

test("everything that we ship may be used, changed and sold by whoever has it", () => {
  const others = foreign.filter((manifest) => !isAllowed(licenceOf(manifest)) && !ELASTIC.includes(manifest.name));
  expect(others.map((manifest) => `${manifest.name}@${manifest.version}: ${licenceOf(manifest)}`)).toEqual([]);
});

test("but for Apollo's composition and its planner, which are Elastic-2.0, and of which the README speaks", () => {
  const elastic = foreign.filter((manifest) => licenceOf(manifest) === "Elastic-2.0");
  expect(elastic.map(({ name }) => name).toSorted()).toEqual(ELASTIC);
  const readme = readFileSync(join(root, "README.md"), "utf8");
  for (const words of ["Elastic License 2.0", ...ELASTIC.map((name) => `\`${name}\``)]) expect(readme).toContain(words);
});

test("an expression of licences is judged by all or any of its parts", () => {
  expect(["MIT", "(MIT AND BSD-3-Clause)", "(GPL-2.0 OR MIT)"].map(isAllowed)).toEqual([true, true, true]);
  expect(["GPL-3.0", "MIT AND AGPL-3.0", "none", "SEE LICENSE IN x"].map(isAllowed)).toEqual([
    false,
    false,
    false,
    false,
  ]);
});
