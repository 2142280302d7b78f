import { expect, it } from "vitest";
import { createLiveGraph, personOf } from "../fixtures/live-graph.ts";

it("a read that is due to a poke is not shared with whoever asks for all there is", async () => {
  const heard: (number | undefined)[] = [];
  let head = 1;
  const graph = createLiveGraph(
    () => async () => ({
      data: { live: { settings: null, cursor_to: `${head}`, cursor_hasMore: false } },
      errors: [],
    }),
    (number) => void heard.push(number),
  );
  const ada = personOf("ada");
  const text = "subscription ($since: String) { live: changed(since: $since) { settings { theme } } }";
  const [first, second] = [await graph.subscribe(text, {}, ada), await graph.subscribe(text, {}, ada)];
  await Promise.all([first.next(), second.next()]);
  heard.length = 0;
  head = 2;
  // Both hear of it, and a third comes in the same turn.
  void graph.poke(ada);
  const third = await graph.subscribe(text, { since: "1" }, ada);
  await Promise.all([first.next(), second.next(), third.next()]);
  expect(heard).toHaveLength(2);
  expect(new Set(heard)).toEqual(new Set([1, undefined]));
  for (const stream of [first, second, third]) await stream.return?.();
});

it("an owner that asks to be left alone for a while is", async () => {
  const askedAt: number[] = [];
  const busy = { code: "RATE_LIMITED", reason: "TOO_MUCH", details: { retryAfterMs: 100 } } as const;
  const graph = createLiveGraph(() => async () => {
    askedAt.push(performance.now());
    if (askedAt.length === 1) return { data: null, errors: [{ message: "Later.", extensions: busy }] };
    return { data: { live: { settings: null, cursor_to: "1", cursor_hasMore: false } }, errors: [] };
  });
  const stream = await graph.subscribe("subscription { live: changed { settings { theme } } }", {}, personOf("ada"));
  await stream.next();
  const [first = 0, second = 0] = askedAt;
  // A timer may be a millisecond early.
  expect(second - first).toBeGreaterThanOrEqual(99);
  await stream.return?.();
});
