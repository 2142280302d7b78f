import { expect, it } from "vitest";
import { acrSuffices } from "./acr.ts";

it("a class of authentication suffices for itself and for those below it; an unknown one for itself alone", () => {
  expect([acrSuffices("aal2", "aal1"), acrSuffices("aal2", "aal2"), acrSuffices("aal1", null)]).toEqual([
    true,
    true,
    true,
  ]);
  expect([acrSuffices("aal1", "aal2"), acrSuffices("gold", "aal1"), acrSuffices("aal3", "gold")]).toEqual([
    false,
    false,
    false,
  ]);
  expect(acrSuffices("gold", "gold")).toBe(true);
});
