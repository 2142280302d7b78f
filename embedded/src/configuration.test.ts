import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { withConfiguration } from "./configuration.ts";

const squeezed = (text: string): string =>
  text.replaceAll(/ {2,}|-{3,}/g, (run) => (run.startsWith("-") ? "---" : " "));
const readme = readFileSync(join(import.meta.dirname, "../../README.md"), "utf8");
const rows = readme.split("\n").filter((line) => line.startsWith("| `"));

test("README's table of environment variables is the code's", () => {
  expect(squeezed(readme)).toBe(squeezed(withConfiguration(readme)));
});

test("every environment variable says what it means", () => {
  expect(rows.length).toBeGreaterThan(20);
  expect(rows.filter((row) => row.replaceAll(" ", "").endsWith("||"))).toEqual([]);
});
