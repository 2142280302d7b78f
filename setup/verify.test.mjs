import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { readResults } from "./verify.mjs";

function results(counts) {
  const file = join(mkdtempSync(join(tmpdir(), "continuo-results-")), "results.json");
  writeFileSync(
    file,
    JSON.stringify({ numPassedTests: 0, numFailedTests: 0, numPendingTests: 0, numTodoTests: 0, ...counts }),
  );
  return file;
}

test("a good run counts what passed and what was skipped", () => {
  expect(readResults(results({ numPassedTests: 5, numPendingTests: 2 }), 0)).toEqual({
    passed: 5,
    failed: 0,
    skipped: 2,
  });
});

test("a run with a file that does not load is not a good one, though no test failed", () => {
  expect(readResults(results({ numPassedTests: 5 }), 1)).toEqual({ passed: 5, failed: 1, skipped: 0 });
});

test("a run that left no results has failed", () => {
  expect(readResults("/nowhere/results.json", 1)).toEqual({ passed: 0, failed: 1, skipped: 0 });
});
