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
