import { once } from "node:events";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { createPingRounds } from "../rounds.ts";
import { createEventStream, type EventStream } from "./event-stream.ts";
import { EVENT_STREAM } from "./framing.ts";

const PING_EVERY_MS = 1_000;

beforeEach(() => void vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] }));
afterEach(() => void vi.useRealTimers());

const LIVES_SECONDS = 300;
const open = (pings = createPingRounds(PING_EVERY_MS)): EventStream =>
  createEventStream({
    framing: EVENT_STREAM,
    exp: Date.now() / 1_000 + LIVES_SECONDS,
    pings,
  });

it("a slow reader slows its own stream down, and is cut off when it has read nothing from one ping to the next", async () => {
  const stream = open();
  let sent = 0;
  const sending = (async () => {
    while (!stream.signal.aborted) {
      await stream.send("x".repeat(10_000));
      sent += 1;
    }
  })();
  await new Promise(setImmediate);
  const before = sent;
  await new Promise(setImmediate);
  expect(sent).toBe(before);
  vi.advanceTimersByTime(PING_EVERY_MS);
  expect(stream.signal.aborted).toBe(false);
  vi.advanceTimersByTime(PING_EVERY_MS);
  await once(stream.body, "close");
  await sending;
  expect(sent).toBeLessThan(20);
  expect(vi.getTimerCount()).toBe(0);
});

it("a reader that reads may take its time", async () => {
  const stream = open();
  for (let round = 0; round < 3; round += 1) {
    const waiting = [stream.send("x".repeat(100_000)), stream.send("x".repeat(100_000))];
    vi.advanceTimersByTime(PING_EVERY_MS);
    while (stream.body.read() !== null) await new Promise(setImmediate);
    await Promise.all(waiting);
  }
  expect(stream.signal.aborted).toBe(false);
  stream.interrupt("OVER");
  expect(vi.getTimerCount()).toBe(0);
});

it("any number of streams has one timer, which pings each once in its time", () => {
  const pings = createPingRounds(12_000);
  const streams = Array.from({ length: 100 }, () => open(pings));
  expect(vi.getTimerCount()).toBe(1);
  vi.advanceTimersByTime(24_000);
  const said = streams.map(({ body }) => String(body.read()));
  expect(new Set(said)).toEqual(new Set([EVENT_STREAM.opening + EVENT_STREAM.ping.repeat(2)]));
  for (const stream of streams) stream.interrupt("OVER");
  expect(vi.getTimerCount()).toBe(0);
});

it("nothing is told once its token has expired, and within a second it ends, saying so", async () => {
  const pings = createPingRounds(12_000);
  const [told, silent] = [open(pings), open(pings)];
  const now = vi.spyOn(Date, "now").mockReturnValue(Date.now() + LIVES_SECONDS * 1_000);
  await told.send("too late");
  vi.advanceTimersByTime(1_000);
  now.mockRestore();
  const said = [told, silent].map(({ body }) => String(body.read()));
  const ended = EVENT_STREAM.opening + EVENT_STREAM.interruption("TOKEN_EXPIRED");
  expect(said).toEqual([ended, ended]);
  expect([told.signal.aborted, silent.signal.aborted]).toEqual([true, true]);
});
