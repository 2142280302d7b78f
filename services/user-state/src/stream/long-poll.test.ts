import { beforeEach, describe, expect, it } from "vitest";
import { createLongPoll, type LongPoll, type LongPollOptions } from "./long-poll.ts";
import type { StateBatch } from "./stream.ts";

const QUIET: StateBatch = {
  from: "a",
  to: "a",
  entries: [],
  hasMore: false,
  headRev: 1,
  epoch: "e",
  lastSeq: null,
  reset: null,
  serverNow: 0,
};
const NEWS: StateBatch = { ...QUIET, hasMore: true };

const viewerOf = (userId: string) => ({
  userId,
  deviceId: "d",
  sessionId: "s",
  applicationId: "a",
  acr: "1",
  amr: [],
  authTime: 1,
});
const REQUEST = { since: "a", namespaces: undefined, clientId: undefined, first: 1 };

type Listeners = Set<Parameters<LongPollOptions["subscribe"]>[1]>;
let reads: number;
let answer: StateBatch;
let listeners: Listeners;
/** Reads that are not over yet. */
let under: number;
let poll: LongPoll;

beforeEach(() => {
  [reads, under, answer, listeners] = [0, 0, QUIET, new Set()];
  poll = createLongPoll({
    async pull() {
      reads += 1;
      return answer;
    },
    async enter() {
      under += 1;
      return () => void (under -= 1);
    },
    async subscribe(_userId, listener) {
      listeners.add(listener);
      return {
        async [Symbol.asyncDispose]() {
          listeners.delete(listener);
        },
      };
    },
    limits: { all: 3, ofUser: 2 },
    now: () => performance.now(),
    random: () => 0,
  });
});

const pull = (waitMs: number, userId = "ada", gone?: AbortSignal): Promise<StateBatch> =>
  poll.pull(viewerOf(userId), { ...REQUEST, waitMs }, gone && { signal: gone });
const waiting = (count: number): Promise<void> => expect.poll(() => listeners.size).toBe(count);

/** How long it takes, in milliseconds. */
async function timeOf(work: Promise<unknown>): Promise<number> {
  const startedAt = performance.now();
  await work;
  return performance.now() - startedAt;
}

describe("a pull that may wait", () => {
  it("is answered at once when there is something", async () => {
    answer = NEWS;
    expect(await timeOf(pull(20_000))).toBeLessThan(10_000);
    expect([reads, listeners.size]).toEqual([1, 0]);
  });

  it.each([
    ["a poke", (listener: Listeners extends Set<infer One> ? One : never) => listener.onPoke()],
    ["a gap", (listener: Listeners extends Set<infer One> ? One : never) => listener.onGap()],
  ])("is answered when something comes, after %s", async (_what, happen) => {
    // So long that it is not answered by its time being up.
    const answered = pull(600_000);
    await waiting(1);
    answer = NEWS;
    for (const listener of listeners) happen(listener);
    expect(await answered).toBe(NEWS);
    expect([reads, listeners.size]).toEqual([2, 0]);
  });

  it("goes on waiting after a poke for nothing that it asked for", async () => {
    const answered = pull(20_000);
    await waiting(1);
    for (const listener of listeners) listener.onPoke();
    await expect.poll(() => reads).toBe(2);
    expect(listeners.size).toBe(1);
    answer = NEWS;
    for (const listener of listeners) listener.onPoke();
    expect(await answered).toBe(NEWS);
  });

  it("is answered when the time is up, by a fresh read", async () => {
    const ms = await timeOf(pull(50));
    expect(ms).toBeGreaterThanOrEqual(45);
    expect([reads, listeners.size]).toEqual([2, 0]);
  });

  it("takes no turn while it waits, and keeps its turn until what it answered is sent", async () => {
    const sent = Promise.withResolvers<void>();
    const answered = poll.pull(viewerOf("ada"), { ...REQUEST, waitMs: 20_000 }, { answered: sent.promise });
    await expect.poll(() => [reads, under]).toEqual([1, 0]);
    answer = NEWS;
    for (const listener of listeners) listener.onPoke();
    await answered;
    expect(under).toBe(1);
    sent.resolve();
    await expect.poll(() => under).toBe(0);
  });

  it("reads no more for a client that has left, and lets go", async () => {
    const leaving = new AbortController();
    const answered = pull(20_000, "ada", leaving.signal);
    await waiting(1);
    leaving.abort();
    await answered;
    expect([reads, listeners.size]).toEqual([1, 0]);
  });

  it("is answered at once when as many wait as may: of one user, and of all", async () => {
    const held = [pull(20_000), pull(20_000)];
    await waiting(2);
    expect(await timeOf(pull(20_000))).toBeLessThan(10_000);
    held.push(pull(20_000, "alan"));
    await waiting(3);
    expect(await timeOf(pull(20_000, "grace"))).toBeLessThan(10_000);
    for (const listener of listeners) listener.onPoke();
    poll.close();
    await Promise.all(held);
  });

  it("is answered at once when the service stops, and so is whoever comes then", async () => {
    const answered = pull(20_000);
    await waiting(1);
    poll.close();
    await answered;
    expect(await timeOf(pull(20_000))).toBeLessThan(10_000);
    expect(listeners.size).toBe(0);
  });
});
