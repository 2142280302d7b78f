import { createLogger } from "@continuo/process";
import { parse } from "graphql";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import type { ViewerAdmission } from "../caller.ts";
import { claimsOf } from "../fixtures/claims.ts";
import type { Operation } from "../operations.ts";
import { createStreamRegistry } from "../revocation/stream-registry.ts";
import { createOpenStreams } from "./open-streams.ts";
import { createReservations, type Reservations } from "./reservations.ts";

const FETCH_WITHIN_MS = 10_000;

beforeEach(() => void vi.useFakeTimers({ toFake: ["setInterval", "clearInterval", "setTimeout", "clearTimeout"] }));
afterEach(() => void vi.useRealTimers());

function open(): Reservations {
  const registry = createStreamRegistry({ endReasonOf: () => undefined });
  const streams = createOpenStreams({ registry });
  return createReservations({ streams, logger: createLogger({ name: "test", level: "silent" }) });
}

const ada: ViewerAdmission = {
  caller: {
    kind: "viewer",
    viewer: { userId: "u", sessionId: "s", deviceId: "d", applicationId: "a", acr: "1", amr: [], authTime: 1 },
  },
  claims: claimsOf("s"),
};

/** A subscription in which nothing happens. */
function endless(): { operation: Operation; isLeft: () => boolean } {
  let isLeft = false;
  const close = (): void => void (isLeft = true);
  return {
    operation: { document: parse("subscription { a }"), open: () => ({ close }) },
    isLeft: () => isLeft,
  };
}

it("a reservation that nobody fetches ends with what runs in it, and takes up no room any more", async () => {
  const reservations = open();
  const tokens = Array.from({ length: 32 }, () => reservations.reserve(ada, "r"));
  expect(() => reservations.reserve(ada, "r")).toThrow(expect.objectContaining({ reason: "TOO_MANY_STREAMS" }));
  const [token = ""] = tokens;
  const { operation, isLeft } = endless();
  await reservations.find(token, ada).run("1", async () => operation, "r");
  vi.advanceTimersByTime(FETCH_WITHIN_MS - 1);
  expect([isLeft(), reservations.find(token, ada)]).toEqual([false, expect.anything()]);
  vi.advanceTimersByTime(1);
  expect(isLeft()).toBe(true);
  expect(() => reservations.fetch(token)).toThrow(expect.objectContaining({ reason: "STREAM_UNKNOWN" }));
  await new Promise(setImmediate);
  expect(vi.getTimerCount()).toBe(0);
  expect(reservations.reserve(ada, "r")).toEqual(expect.any(String));
});

it("one that is fetched goes on", async () => {
  const reservations = open();
  const token = reservations.reserve(ada, "r");
  reservations.fetch(token).body.resume();
  vi.advanceTimersByTime(2 * FETCH_WITHIN_MS);
  const { operation, isLeft } = endless();
  await reservations.find(token, ada).run("1", async () => operation, "r");
  expect(isLeft()).toBe(false);
});
