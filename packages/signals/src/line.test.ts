import { assert, double, nat, property } from "fast-check";
import { expect, test, vi } from "vitest";
import { silent } from "./fixtures/settings.ts";
import { backoffMs, type OpenLine, startLine } from "./line.ts";

const soon = { timeout: 60_000, interval: 5 };

function someLine(probe: () => Promise<void> = async () => undefined): OpenLine & { lose(): void; closings: number } {
  const gone = Promise.withResolvers<void>();
  return {
    closed: gone.promise,
    lose: () => gone.resolve(),
    closings: 0,
    probe,
    async [Symbol.asyncDispose]() {
      this.closings += 1;
    },
  };
}

/** Opens the given lines in turn. */
function opens(...lines: OpenLine[]): () => Promise<OpenLine> {
  return async () => {
    const next = lines.shift();
    if (next === undefined) throw new Error("no line is left");
    return next;
  };
}

test("the wait before the next attempt is random, doubles, and stays within 5 s", () => {
  assert(
    property(nat(2_000), double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), (failures, random) => {
      const wait = backoffMs(failures, () => random);
      expect(wait).toBeGreaterThanOrEqual(0);
      expect(wait).toBeLessThan(Math.min(5_000, 100 * 2 ** failures));
    }),
  );
});

test("a line that is lost is closed and opened again", async () => {
  const lines = [someLine(), someLine()] as const;
  const open = opens(lines[0], lines[1]);
  const onOpen = vi.fn<() => void>();
  await using _ = await startLine({ open, onOpen, logger: silent, random: () => 0 });
  expect(onOpen).toHaveBeenCalledTimes(1);
  lines[0].lose();
  await vi.waitFor(() => expect(onOpen).toHaveBeenCalledTimes(2), soon);
  expect(lines.map(({ closings }) => closings)).toEqual([1, 0]);
});

test("a line that no longer answers is closed and opened again", async () => {
  const mute = someLine(() => Promise.reject(new Error("no answer")));
  const sound = someLine();
  const open = opens(mute, sound);
  const onOpen = vi.fn<() => void>();
  await using _ = await startLine({ open, onOpen, logger: silent, random: () => 0, probeEveryMs: 1 });
  await vi.waitFor(() => expect(onOpen).toHaveBeenCalledTimes(2), soon);
  expect([mute.closings, sound.closings]).toEqual([1, 0]);
});

test("a line that cannot be opened does not hold up the start, and is tried until it can", async () => {
  const open = vi.fn<() => Promise<OpenLine>>(async () => {
    if (open.mock.calls.length < 4) throw new Error("down");
    return line;
  });
  const line = someLine();
  const onOpen = vi.fn<() => void>();
  const failures: number[] = [];
  const logger: typeof silent = Object.create(silent, {
    warn: { value: (about: { failures: number }) => failures.push(about.failures) },
  });
  await using _ = await startLine({ open, onOpen, logger, random: () => 0 });
  await vi.waitFor(() => expect(onOpen).toHaveBeenCalledTimes(1), soon);
  expect(open).toHaveBeenCalledTimes(4);
  // After a successful open, earlier failures no longer count towards the backoff.
  line.lose();
  await vi.waitFor(() => expect(failures.slice(0, 4)).toEqual([1, 2, 3, 1]), soon);
});

test("disposal closes the line and opens no other", async () => {
  const only = someLine();
  const open = vi.fn<() => Promise<OpenLine>>(async () => only);
  const line = await startLine({ open, onOpen: () => undefined, logger: silent });
  await line[Symbol.asyncDispose]();
  only.lose();
  expect(only.closings).toBe(1);
  expect(open).toHaveBeenCalledTimes(1);
});

test("disposal does not wait out the backoff", async () => {
  const open = vi.fn<() => Promise<OpenLine>>(() => Promise.reject(new Error("down")));
  const line = await startLine({
    open,
    onOpen: () => undefined,
    logger: silent,
    random: () => 1_000_000,
  });
  await line[Symbol.asyncDispose]();
  expect(open).toHaveBeenCalledTimes(1);
});
