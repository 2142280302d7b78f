import { expect, test } from "vitest";
import { isOutage } from "./outage.ts";

const coded = (code: string, cause?: unknown): Error => Object.assign(new Error("x", { cause }), { code });

test.each([
  ["a refused connection", coded("ECONNREFUSED")],
  ["a name with several addresses, all refused", new AggregateError([coded("ECONNREFUSED")])],
  ["a server that shuts down", coded("57P01")],
  ["a server that starts up", coded("57P03")],
  ["a lock that was not to be had in time", coded("55P03")],
  ["a deadlock", coded("40P01")],
  ["a full disk", coded("53100")],
  ["a connection that broke in a statement", new Error("Connection terminated unexpectedly")],
  ["Prisma that cannot reach it", coded("P1001")],
  [
    "a driver adapter's word, in what Prisma throws",
    Object.assign(coded("P2010"), { meta: { driverAdapterError: { cause: { kind: "ConnectionClosed" } } } }),
  ],
  ["what another error wraps", new Error("could not push", { cause: coded("ECONNRESET") })],
])("%s is an outage", (_name, thrown) => {
  expect(isOutage(thrown)).toBe(true);
});

test.each([
  ["a constraint that does not hold", coded("23505")],
  ["a statement that does not parse", coded("42601")],
  ["a bug", new TypeError("undefined is not a function")],
  ["something thrown that is no error", "ECONNREFUSED"],
  [
    "an error that is its own cause",
    (() => {
      const loop = new Error("x");
      loop.cause = loop;
      return loop;
    })(),
  ],
])("%s is none", (_name, thrown) => {
  expect(isOutage(thrown)).toBe(false);
});
