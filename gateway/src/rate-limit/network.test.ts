import { expect, it } from "vitest";
import { ipPrefixOf, networkOf } from "./network.ts";

const seen = (remoteAddress: string | undefined, forwarded?: string, hops = 0): string | undefined =>
  networkOf(
    { headers: forwarded === undefined ? {} : { "x-forwarded-for": forwarded }, socket: { remoteAddress } },
    hops,
  );

it.each([
  ["192.0.2.77", "192.0.2.0/24"],
  ["::ffff:192.0.2.77", "192.0.2.0/24"],
  ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
  ["127.0.0.1", undefined],
  ["::1", undefined],
  ["::ffff:127.0.0.1", undefined],
  ["nonsense", "unknown"],
  [undefined, "unknown"],
])("is of %s: %s", (address, network) => {
  expect(seen(address)).toBe(network);
});

it("believes as many proxies as there are, from the last one on", () => {
  const forwarded = "198.51.100.1, 203.0.113.5, 192.0.2.9";
  expect([0, 1, 2, 3, 4].map((hops) => seen("192.0.2.200", forwarded, hops))).toEqual([
    "192.0.2.0/24",
    "192.0.2.0/24",
    "203.0.113.0/24",
    "198.51.100.0/24",
    "198.51.100.0/24",
  ]);
  expect(seen("192.0.2.200", undefined, 1)).toBe("192.0.2.0/24");
});

it.each([
  ["192.0.2.0/24", "192.0.2.0/24"],
  ["2001:db8:1:2::/64", "2001:db8:1::/48"],
  ["unknown", undefined],
  [undefined, undefined],
])("is remembered of %s: %s", (network, prefix) => {
  expect(ipPrefixOf(network)).toBe(prefix);
});
