import { globSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { root } from "./place.mjs";

test("every code that the source can print has a section in docs/errors.md, and every section a code", () => {
  const sources = globSync(["{setup,gateway,embedded,services,packages}/**/*.{ts,mjs}"], {
    cwd: root,
    exclude: (path) => /node_modules|generated|\.test\./.test(path),
  });
  const codes = sources.flatMap(
    (file) => readFileSync(`${root}/${file}`, "utf8").match(/(?<=["`])E_[A-Z_]+(?="|  )/g) ?? [],
  );
  const sections = readFileSync(`${root}/docs/errors.md`, "utf8").match(/(?<=^## )E_[A-Z_]+$/gm);

  expect(sections?.toSorted(alphabetically)).toEqual([...new Set(codes)].toSorted(alphabetically));
});

function alphabetically(left, right) {
  return left < right ? -1 : Number(left > right);
}
