import { expect, test } from "vitest";
import { outcomeOf } from "./index.ts";

const error = (code: unknown): { extensions: unknown } => ({ extensions: { code } });

test.each([
  ["nothing", undefined, "OK"],
  ["no errors", [], "OK"],
  ["the gravest of several", [error("NOT_FOUND"), error("UNAVAILABLE"), error("CONFLICT")], "UNAVAILABLE"],
  ["a code that is none of ours", [error("TEAPOT")], "INTERNAL_SERVER_ERROR"],
  ["an error without extensions", [{}], "INTERNAL_SERVER_ERROR"],
])("what comes of %s", (_case, errors, outcome) => {
  expect(outcomeOf(errors)).toBe(outcome);
});
