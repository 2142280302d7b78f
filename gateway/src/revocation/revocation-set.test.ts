import * as fc from "fast-check";
import { expect, it } from "vitest";
import { createRevocationSet, LONGEST_TOKEN_LIFE_MS } from "./revocation-set.ts";

it("remembers an ended session for longer than any of its tokens lives, and then forgets it", () => {
  let now = 0;
  const set = createRevocationSet(() => now);
  set.add("s1", "SIGNED_OUT");
  now = LONGEST_TOKEN_LIFE_MS + 59_000;
  set.add("s2", "IDLE");
  expect([set.endReasonOf("s1"), set.endReasonOf("s2"), set.endReasonOf("s3")]).toEqual([
    "SIGNED_OUT",
    "IDLE",
    undefined,
  ]);
  now = LONGEST_TOKEN_LIFE_MS + 61_000;
  expect([set.size, set.endReasonOf("s1")]).toEqual([1, undefined]);
});

it("keeps the first reason, whatever order entries come in, and never loses one early", () => {
  const entries = fc.array(
    fc.record({ session: fc.integer({ min: 0, max: 20 }), wait: fc.integer({ min: 0, max: 400_000 }) }),
  );
  fc.assert(
    fc.property(entries, (added) => {
      let now = 0;
      const set = createRevocationSet(() => now);
      const firstAt = new Map<number, number>();
      for (const { session, wait } of added) {
        now += wait;
        for (const [known, at] of firstAt) if (now - at > LONGEST_TOKEN_LIFE_MS + 60_000) firstAt.delete(known);
        set.add(`s${session}`, "IDLE");
        if (!firstAt.has(session)) firstAt.set(session, now);
        const recent = [...firstAt].filter(([, at]) => now - at <= LONGEST_TOKEN_LIFE_MS);
        expect(recent.filter(([known]) => set.endReasonOf(`s${known}`) !== "IDLE")).toEqual([]);
      }
      expect(set.size).toBeLessThanOrEqual(firstAt.size + 1);
    }),
  );
});
