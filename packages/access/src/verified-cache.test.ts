import { describe, expect, test } from "vitest";
import { createVerifiedCache } from "./verified-cache.ts";

const keys = (count: number, prefix = ""): string[] => Array.from({ length: count }, (_, index) => `${prefix}${index}`);

describe("the cache of what was verified", () => {
  test("keeps those used most recently, expired or not", () => {
    const cache = createVerifiedCache<{ exp: number }>(2);
    cache.set("a", { exp: 10 }, 0);
    cache.set("b", { exp: 10 }, 0);
    cache.get("a");
    cache.set("c", { exp: 10 }, 0);
    expect(["a", "b", "c"].map((key) => cache.get(key)?.exp)).toEqual([10, undefined, 10]);
  });

  test("gives up what has expired as others come, and nothing that has not", () => {
    const cache = createVerifiedCache<{ exp: number }>(1_000);
    for (const key of keys(10, "short ")) cache.set(key, { exp: 10 }, 0);
    for (const key of keys(10, "long ")) cache.set(key, { exp: 20 }, 0);
    for (const key of keys(5, "later ")) cache.set(key, { exp: 20 }, 10);
    expect(keys(10, "short ").filter((key) => cache.get(key))).toEqual([]);
    expect([...keys(10, "long "), ...keys(5, "later ")].filter((key) => !cache.get(key))).toEqual([]);
  });
});
