import { expect, test, vi } from "vitest";
import { createHealth } from "./index.ts";

test("a process is ready when every dependency answers, and says which does not", async () => {
  const health = createHealth();
  expect(await health.ready()).toEqual({ ready: true, checks: {} });
  health.add("database", async () => "PONG");
  expect(await health.ready()).toEqual({ ready: true, checks: { database: "ok" } });
  health.add("redis", async () => Promise.reject(new Error("connect ECONNREFUSED redis://default:secret@cache")));
  health.add("keys", async () => false);
  expect(await health.ready()).toEqual({
    ready: false,
    checks: { database: "ok", redis: "unreachable", keys: "not ready" },
  });
});

test("a dependency that throws before it promises anything is unreachable too", async () => {
  const health = createHealth();
  health.add("odd", () => {
    throw new Error("at once");
  });
  expect(await health.ready()).toEqual({ ready: false, checks: { odd: "unreachable" } });
});

test("a dependency that does not answer counts as missing after a second", async () => {
  vi.useFakeTimers();
  try {
    const health = createHealth();
    health.add("database", async () => new Promise(() => undefined));
    const answer = health.ready();
    await vi.advanceTimersByTimeAsync(1_000);
    expect(await answer).toEqual({ ready: false, checks: { database: "no answer within 1 s" } });
  } finally {
    vi.useRealTimers();
  }
});

test("a draining process is not ready, whatever its dependencies say", async () => {
  const health = createHealth();
  health.add("database", async () => true);
  health.drain();
  expect(await health.ready()).toEqual({ ready: false, checks: { database: "ok", drain: "under way" } });
});

test("however many ask, a dependency is asked once at a time", async () => {
  const health = createHealth();
  const asked = vi.fn<() => Promise<boolean>>(async () => true);
  health.add("database", asked);
  await Promise.all(Array.from({ length: 5 }, () => health.ready()));
  expect(asked).toHaveBeenCalledTimes(1);
  expect(await health.ready()).toEqual({ ready: true, checks: { database: "ok" } });
  expect(asked).toHaveBeenCalledTimes(2);
});
