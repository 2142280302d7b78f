/**
 * In `docs/security.md` each requirement names the tests that prove it, or says why it is not met. This keeps those names real.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { describe, expect, test } from "vitest";

const docs = join(import.meta.dirname, "docs");
const page = readFileSync(join(docs, "security.md"), "utf8");

/** `[title of a test][file]` in a row; `[file]: ../path/of.test.ts` at the end of the page. */
const PROOF = /\[([^\]]+)\]\[([^\]]+)\]/g;
const FILE = /^\[([^\]]+)\]: (\S+)$/gm;
/** How the last cell of a row without a test begins; the reason follows. */
const WITHOUT_TEST = /^(Not met|Not ours|Document): .{8,}/;

interface Row {
  readonly norm: string;
  readonly requirement: string;
  readonly proof: string;
}

/** Rows of each section's table whose last column is the proof. */
const rows = page.split(/^## /m).flatMap((section): Row[] => {
  const [norm = "", ...lines] = section.split("\n");
  const head = lines.findIndex((line) => /^\| Requirement .* Proof +\|$/.test(line));
  if (head < 0) return [];
  const cells = lines.slice(head + 2).map((line) => line.split("|").map((cell) => cell.trim()));
  return cells.flatMap((row) => (row.length < 4 ? [] : { norm, requirement: row[1] ?? "", proof: row.at(-2) ?? "" }));
});
const files = new Map([...page.matchAll(FILE)].map(([, label = "", path = ""]) => [label, path]));
const proofs = (text: string): { title: string; label: string }[] =>
  [...text.matchAll(PROOF)].map(([, title = "", label = ""]) => ({ title, label }));

describe("docs/security.md", () => {
  test("answers to many requirements, each once", () => {
    expect(rows.length).toBeGreaterThan(100);
    const names = rows.map(({ norm, requirement, proof }) => `${norm} ${requirement} ${proof}`);
    expect(new Set(names).size).toBe(names.length);
  });

  test.each(rows)("$norm: $requirement names tests that are there, or says why there is none", ({ proof }) => {
    const named = proofs(proof);
    expect(named.length > 0 || WITHOUT_TEST.test(proof)).toBe(true);
    expect(named.filter(({ title, label }) => !titlesIn(files.get(label)).includes(title))).toEqual([]);
  });

  test("names files that run as tests, and no other", () => {
    expect(new Set(proofs(page).map(({ label }) => label))).toEqual(new Set(files.keys()));
    expect([...files.values()].filter((path) => !isRun(join(docs, path)))).toEqual([]);
  });

  test("links to what is there", () => {
    const links = [...page.matchAll(/\]\(([^)#]+)[^)]*\)/g)].map(([, path = ""]) => path);
    expect(links.filter((path) => !existsSync(join(docs, path)))).toEqual([]);
  });
});

/** Whether the tests in this file run: directly, or as a suite that a test beside it imports. */
function isRun(file: string): boolean {
  const importsIt = (name: string): boolean =>
    name.endsWith(".test.ts") && readFileSync(join(dirname(file), name), "utf8").includes(`"./${basename(file)}"`);
  return file.endsWith(".test.ts") || (file.endsWith(".suite.ts") && readdirSync(dirname(file)).some(importsIt));
}

const read = new Map<string, readonly string[]>();

/** Every string literal in the file: titles given to `it`, `test` and `describe`, and those in tables of cases. */
function titlesIn(path: string | undefined): readonly string[] {
  if (path === undefined) return [];
  const known = read.get(path);
  if (known) return known;
  const text = readFileSync(join(docs, path), "utf8");
  const titles = [...text.matchAll(/"((?:[^"\\\n]|\\.)*)"|`([^`\n]*)`/g)].map(([, plain, template]) =>
    (plain ?? template ?? "").replaceAll('\\"', '"'),
  );
  read.set(path, titles);
  return titles;
}
