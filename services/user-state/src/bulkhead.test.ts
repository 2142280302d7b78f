import { isAppError } from "@continuo/errors";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createBulkhead, type Bulkhead, type BulkheadOptions } from "./bulkhead.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

function create(options: Partial<BulkheadOptions> = {}): Bulkhead {
  const now = (): number => Date.now();
  return createBulkhead({ concurrency: 2, queue: 3, patienceMs: 1_000, now, random: () => 0, ...options });
}

interface Work {
  /** In the order in which they began. */
  readonly begun: number[];
  readonly answers: Promise<number>[];
  end(index: number): void;
  add(bulkhead: Bulkhead, count: number, gone?: AbortSignal): void;
}

function createWork(): Work {
  const gates: PromiseWithResolvers<void>[] = [];
  const work: Work = {
    begun: [],
    answers: [],
    end: (index) => gates[index]?.resolve(),
    add(bulkhead, count, gone) {
      for (let added = 0; added < count; added += 1) {
        const gate = Promise.withResolvers<void>();
        const index = gates.push(gate) - 1;
        const answer = bulkhead.enter(gone).then(async (leave) => {
          work.begun.push(index);
          await gate.promise;
          leave();
          return index;
        });
        answer.catch(() => undefined);
        work.answers.push(answer);
      }
    },
  };
  return work;
}

async function retryAfterMs(answer: Promise<unknown> | undefined): Promise<unknown> {
  const thrown: unknown = await answer?.then(
    () => undefined,
    (cause: unknown) => cause,
  );
  expect(thrown).toMatchObject({ code: "RATE_LIMITED", reason: "OVERLOADED" });
  return isAppError(thrown) ? thrown.details?.["retryAfterMs"] : undefined;
}

const settled = (): Promise<unknown> => vi.advanceTimersByTimeAsync(0);

describe("a bulkhead", () => {
  it("runs so many at once, the others in the order in which they came", async () => {
    const [bulkhead, work] = [create(), createWork()];
    work.add(bulkhead, 5);
    await settled();
    expect(work.begun).toEqual([0, 1]);
    work.end(1);
    await settled();
    expect(work.begun).toEqual([0, 1, 2]);
    for (const index of [0, 2, 3, 4]) {
      work.end(index);
      await settled();
    }
    expect(await Promise.all(work.answers)).toEqual([0, 1, 2, 3, 4]);
  });

  it("turns away whoever finds the queue full, each to another time", async () => {
    const [bulkhead, work] = [create(), createWork()];
    work.add(bulkhead, 8);
    const times = [await retryAfterMs(work.answers[5]), await retryAfterMs(work.answers[6])];
    times.push(await retryAfterMs(work.answers[7]));
    expect(times).toEqual([520, 525, 530]);
    expect(work.begun).toEqual([0, 1]);
  });

  it("asks nobody to wait for more than a minute or so", async () => {
    const [bulkhead, work] = [create({ concurrency: 1, queue: 0 }), createWork()];
    work.add(bulkhead, 1);
    await vi.advanceTimersByTimeAsync(1_000_000);
    work.end(0);
    await settled();
    work.add(bulkhead, 50);
    expect(await retryAfterMs(work.answers[50])).toBe(60_500);
  });

  it("turns away who has waited too long for a turn", async () => {
    const [bulkhead, work] = [create(), createWork()];
    work.add(bulkhead, 3);
    await vi.advanceTimersByTimeAsync(1_000);
    await retryAfterMs(work.answers[2]);
    work.end(0);
    work.end(1);
    await settled();
    work.add(bulkhead, 1);
    await settled();
    expect(work.begun).toEqual([0, 1, 3]);
  });

  it("does nothing for who is gone when their turn comes", async () => {
    const [bulkhead, work] = [create({ concurrency: 1 }), createWork()];
    const leaving = new AbortController();
    work.add(bulkhead, 1);
    work.add(bulkhead, 1, leaving.signal);
    work.add(bulkhead, 1);
    leaving.abort();
    work.end(0);
    await settled();
    expect(work.begun).toEqual([0, 2]);
  });

  it("is free again after work that failed", async () => {
    const bulkhead = create({ concurrency: 1, queue: 0 });
    await expect(bulkhead.run(() => Promise.reject(new Error("failed")))).rejects.toThrow("failed");
    expect(await bulkhead.run(async () => "ran")).toBe("ran");
  });
});
