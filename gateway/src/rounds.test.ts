import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { createRounds } from "./rounds.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

it("calls each once in the time, at different times, and nobody who has left", () => {
  const rounds = createRounds(1_000);
  const calls: number[] = Array.from({ length: 500 }, () => 0);
  const members = calls.map((_none, index) => ({ visit: () => void (calls[index] = (calls[index] ?? 0) + 1) }));
  for (const member of members) rounds.join(member);
  vi.advanceTimersByTime(500);
  const early = calls.filter((times) => times === 1).length;
  expect([early > 100, early < 400]).toEqual([true, true]);
  vi.advanceTimersByTime(2_500);
  expect(new Set(calls)).toEqual(new Set([3]));
  for (const member of members.slice(1)) rounds.leave(member);
  vi.advanceTimersByTime(1_000);
  expect([calls[0], new Set(calls.slice(1))]).toEqual([4, new Set([3])]);
});

it("keeps no timer for nobody", () => {
  const rounds = createRounds(20);
  const member = { visit: () => undefined };
  for (let times = 0; times < 2; times += 1) {
    rounds.join(member);
    expect(vi.getTimerCount()).toBe(1);
    rounds.leave(member);
    rounds.leave(member);
    expect(vi.getTimerCount()).toBe(0);
  }
});
