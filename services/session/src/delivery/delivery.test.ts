import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { faultOfAddress, isPublicAddress, mayConnect } from "./address.ts";
import { faultOfAnswer } from "./delivery.ts";
import { parseRetryAfter, RETRY_SECONDS, retryDelayMs } from "./retry-schedule.ts";

describe("an address that is told", () => {
  it.each(["8.8.8.8", "2606:4700::1111", "2a00:1450:4001::200e"])("may be %s, over https alone", (address) => {
    expect(mayConnect("https:", address, false)).toBe(true);
    expect(mayConnect("http:", address, true)).toBe(false);
  });

  it.each([
    "127.0.0.1",
    "10.1.2.3",
    "172.31.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "100.127.255.255",
    "192.0.0.8",
    "192.0.2.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "0.0.0.0",
    "224.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "fe80::1",
    "fd00::1",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
    "2001::1",
    "2001:db8::1",
    "3fff::1",
    "ff02::1",
    "not an address",
  ])("is not %s, unless the installation allows private ones", (address) => {
    expect(isPublicAddress(address)).toBe(false);
    expect(mayConnect("https:", address, false)).toBe(false);
  });

  it.each([
    ["http://example.com/", "not https"],
    ["ftp://example.com/", "not https"],
    ["https://user:pass@example.com/", "has a user or password in it"],
    ["https://example.com/#", "has a fragment"],
    ["https://[::1]/", "a private address"],
    ["https://0x7f.1/", "a private address"],
    ["https://2130706433/", "a private address"],
    ["example.com", "not an address"],
  ])("is refused as %s when it is entered", (url, fault) => {
    expect(faultOfAddress(url, false)).toBe(fault);
  });

  it("is taken as https to a name", () => {
    expect(faultOfAddress("https://example.com/hooks?x=1", false)).toBeUndefined();
  });
});

describe("an answer", () => {
  it.each([
    ["WEBHOOK", 200, undefined],
    ["WEBHOOK", 202, undefined],
    ["WEBHOOK", 301, "HTTP_301"],
    ["WEBHOOK", 500, "HTTP_500"],
    ["LOGOUT", 200, undefined],
    ["LOGOUT", 204, undefined],
    ["LOGOUT", 202, "HTTP_202"],
    ["LOGOUT", 400, "HTTP_400"],
  ] as const)("to a %s of %i means %s", (kind, status, fault) => {
    expect(faultOfAnswer(kind, { status, retryAfter: undefined })).toBe(fault);
  });
});

describe("the schedule of attempts", () => {
  it("goes on for about a day, then stops", () => {
    expect(RETRY_SECONDS.reduce((sum, each) => sum + each, 0) / 3_600).toBeCloseTo(23.7, 1);
    expect(retryDelayMs({ failures: RETRY_SECONDS.length + 1, random: 0 })).toBeUndefined();
  });

  it("is only ever put off by a receiver, by six hours at most, and spread by a fifth", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: RETRY_SECONDS.length }),
        fc.option(fc.nat(10 ** 9), { nil: undefined }),
        fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        (failures, retryAfterMs, random) => {
          const planned = (RETRY_SECONDS[failures - 1] ?? 0) * 1_000;
          const delay = retryDelayMs({ failures, retryAfterMs, random }) ?? Number.NaN;
          expect(delay).toBeGreaterThanOrEqual(planned * 0.8 - 1);
          expect(delay).toBeGreaterThanOrEqual(Math.min(retryAfterMs ?? 0, 6 * 3_600_000));
          expect(delay).toBeLessThanOrEqual(Math.max(planned * 1.2 + 1, 6 * 3_600_000));
        },
      ),
    );
  });

  const now = new Date("2026-05-01T00:00:00Z");
  it.each([
    ["120", 120_000],
    ["Fri, 01 May 2026 00:01:00 GMT", 60_000],
    ["Thu, 30 Apr 2026 00:00:00 GMT", 0],
    ["soon", undefined],
    [undefined, undefined],
  ])("reads Retry-After %j", (header, ms) => {
    expect(parseRetryAfter(header, now)).toBe(ms);
  });
});
