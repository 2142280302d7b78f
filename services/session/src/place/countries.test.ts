import { expect, it } from "vitest";
import { openPlaces } from "./countries.ts";

const placeOf = openPlaces();

it.each([
  ["8.8.8.0/24", "US"],
  ["193.0.6.0/24", "NL"],
  ["2001:4860:4860::/48", "US"],
  ["192.0.2.0/24", null],
  ["10.0.0.0/24", null],
  ["nonsense", null],
])("%s was given out in %s", (ipPrefix, country) => {
  expect(placeOf(ipPrefix)).toEqual({ ipPrefix, country });
});

it("nowhere is nowhere", () => {
  expect(placeOf(undefined)).toEqual({ ipPrefix: null, country: null });
});
