import { expect, test } from "vitest";
import { parseRedisUrl } from "./redis.ts";

test.each([
  ["redis://cache:6380", { cluster: false, urls: ["redis://cache:6380"] }],
  ["rediss://user:secret@cache", { cluster: false, urls: ["rediss://user:secret@cache"] }],
  ["redis://a:1,redis://b:2", { cluster: true, urls: ["redis://a:1", "redis://b:2"] }],
  ["redis://a:1, redis://b:2", { cluster: true, urls: ["redis://a:1", "redis://b:2"] }],
  ["redis-cluster://a:1", { cluster: true, urls: ["redis://a:1"] }],
  ["rediss-cluster://a:1", { cluster: true, urls: ["rediss://a:1"] }],
])("%s is understood", (text, target) => {
  expect(parseRedisUrl(text)).toEqual(target);
});

test.each(["", "http://cache", "cache:6379", "redis://a,http://b", "redis://a,"])("%j is refused", (text) => {
  expect(() => parseRedisUrl(text)).toThrow(TypeError);
});
