import { once } from "node:events";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { createEventStream, type EventStream } from "./event-stream.ts";
import { EVENT_STREAM } from "./framing.ts";

const PING_EVERY_MS = 1_000;

beforeEach(() => void vi.useFakeTimers({ toFake: ["setInterval", "clearInterval", "setTimeout", "clearTimeout"] }));
afterEach(() => void vi.useRealTimers());

const open = (): EventStream =>
  createEventStream({
    framing: EVENT_STREAM,
    exp: Date.now() / 1_000 + 300,
    pingEveryMs: PING_EVERY_MS,
    beforePing: () => undefined,
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
