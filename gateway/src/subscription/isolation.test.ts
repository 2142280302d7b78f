/** No subscriber ever receives what is another's, whatever is selected, shared and interleaved. */
import fc from "fast-check";
import { setImmediate as turn } from "node:timers/promises";
import { parse } from "graphql";
import { expect, it } from "vitest";
import { createLiveGraph, LIVE_SUPERGRAPH, type LiveGraph } from "../fixtures/live-graph.ts";
import { createMockSubgraphs } from "../fixtures/mock-subgraphs.ts";
import type { Answer } from "../plan/operation.ts";
import type { DataSource } from "../subgraph/data-source.ts";
import { isRecord } from "../subgraph/subgraph-error.ts";

const mock = createMockSubgraphs(LIVE_SUPERGRAPH);
const USERS = ["ada", "alan", "grace"];

/** Several share a text, and with it a plan; one alias is one field here and another there. */
const SELECTIONS = [
  "{ to products { id x: sku y: name reviews { x: text author { name email } } } }",
  "{ to products { id x: name y: sku computedShipping computedRisk } }",
  "{ a: product { maker { x: name best { name } } } b: product { topReview { x: text about { title } } } }",
  "{ item { name ... on Product { reviews { witnesses { name } } } } anything { ... on Maker { name } } settings { theme } }",
  "{ products { id x: sku } }",
];
const subscriptionOf = (selection: string): string =>
  `subscription ($since: String) { live: changed(since: $since) ${selection} }`;
const queryOf = (selection: string): string => `query { live: changes(since: null) ${selection} }`;

/** The same data, its strings saying whose they are. */
function marked(data: Record<string, unknown>, userId: string): Record<string, unknown> {
  return JSON.parse(JSON.stringify(data), (key, value: unknown) =>
    typeof value === "string" && key !== "__typename" ? `${value}@${userId}` : value,
  );
}

function freeze(value: unknown): void {
  if (typeof value !== "object" || value === null) return;
  Object.values(Object.freeze(value)).forEach(freeze);
}

const ownersIn = (value: unknown): string[] =>
  [...new Set([...JSON.stringify(value ?? null).matchAll(/@(\w+)/g)].map(([, owner = ""]) => owner))].sort();

/** `pass` lets an answer through; `heads` say how far each person's changes are. */
function open(pass: () => Promise<void>, heads: ReadonlyMap<string, number>, mixedUp: string[]): LiveGraph {
  const sourceOf =
    (name: string): DataSource =>
    async (request, scope) => {
      const userId = scope.caller.kind === "viewer" ? scope.caller.viewer.userId : "";
      await pass();
      const others = ownersIn(request.variables["representations"]).filter((owner) => owner !== userId);
      mixedUp.push(...others.map((owner) => `${owner}'s keys were sent as ${userId}`));
      const isRead = "cursor" in request.variables;
      const variables = isRead ? { cursor: null } : request.variables;
      const weather = { seed: USERS.indexOf(userId), errors: 0, nulls: 10, broken: 0 };
      const answer = await mock(weather).get(name)?.({ ...request, variables }, scope);
      await pass();
      const data = answer?.data ? marked(answer.data, userId) : null;
      if (isRead && isRecord(data?.["live"])) {
        Object.assign(data["live"], { cursor_to: `${heads.get(userId)}`, cursor_hasMore: false });
        // An event may be held by others; what completes it is the asker's own.
        freeze(data);
      }
      return { data, errors: answer?.errors ?? [] };
    };
  return createLiveGraph(sourceOf);
}

type Step =
  | { readonly does: "subscribe"; readonly userId: string; readonly selection: string }
  | { readonly does: "change"; readonly userId: string }
  | { readonly does: "leave"; readonly subscriber: number };

const userIds = fc.constantFrom(...USERS);
const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    fc.record({ does: fc.constant("subscribe" as const), userId: userIds, selection: fc.constantFrom(...SELECTIONS) }),
    fc.record({ does: fc.constant("change" as const), userId: userIds }),
    fc.record({ does: fc.constant("leave" as const), subscriber: fc.nat(9) }),
  ),
  { minLength: 4, maxLength: 25, size: "max" },
);

it("every event is its subscriber's own, whatever is selected, shared and interleaved", async () => {
  let received = 0;
  await fc.assert(
    fc.asyncProperty(fc.scheduler(), steps, async (scheduler, plan) => {
      const heads = new Map(USERS.map((userId) => [userId, 0]));
      const mixedUp: string[] = [];
      const graph = open(() => scheduler.schedule(Promise.resolve()), heads, mixedUp);
      const subscribers: { userId: string; selection: string; events: Answer[]; leave: () => Promise<unknown> }[] = [];
      const consuming: Promise<void>[] = [];
      for (const step of plan) {
        if (step.does === "subscribe") {
          const { userId, selection } = step;
          // All have the same cursor.
          const stream = await graph.subscribe(subscriptionOf(selection), { since: "0" }, userId);
          const events: Answer[] = [];
          subscribers.push({ userId, selection, events, leave: async () => stream.return?.() });
          consuming.push((async () => void (await Array.fromAsync(stream, (event) => events.push(event))))());
        } else if (step.does === "change") {
          heads.set(step.userId, (heads.get(step.userId) ?? 0) + 1);
          await graph.poke(step.userId);
        } else await subscribers[step.subscriber % subscribers.length]?.leave();
        await turn();
        if (scheduler.count() > 0) await scheduler.waitOne();
      }
      // A read begins a turn after it is asked for.
      do {
        await scheduler.waitIdle();
        await turn();
      } while (scheduler.count() > 0);
      await Promise.all(subscribers.map(({ leave }) => leave()));
      await Promise.all(consuming);

      expect(mixedUp).toEqual([]);
      const calm = open(async () => undefined, heads, mixedUp);
      for (const { userId, selection, events } of subscribers) {
        const { data } = await calm.answer(parse(queryOf(selection)), {}, userId);
        for (const event of events) {
          expect(ownersIn(event.data)).toEqual([userId]);
          expect(JSON.stringify(event.data)).toBe(JSON.stringify(data));
        }
        received += events.length;
      }
    }),
    { numRuns: 40 },
  );
  expect(received).toBeGreaterThan(40);
});

it("whoever leaves takes no read from those who share it", async () => {
  const read = Promise.withResolvers<void>();
  const signals: (AbortSignal | undefined)[] = [];
  const graph = createLiveGraph((name) => async (request, scope) => {
    if ("cursor" in request.variables) signals.push(scope.signal);
    await read.promise;
    const answer = await mock({ seed: 1, errors: 0, nulls: 0, broken: 0 }).get(name)?.(request, scope);
    if (isRecord(answer?.data?.["live"])) Object.assign(answer.data["live"], { cursor_to: "1", cursor_hasMore: false });
    return { data: answer?.data ?? null, errors: answer?.errors ?? [] };
  });
  const leaving = new AbortController();
  const text = subscriptionOf("{ to }");
  const [first, second] = await Promise.all([
    graph.subscribe(text, { since: "0" }, "ada", leaving.signal),
    graph.subscribe(text, { since: "0" }, "ada"),
  ]);
  const [left, received] = [first.next(), second.next()];
  await expect.poll(() => signals.length).toBe(1);
  leaving.abort();
  await first.return?.();
  expect(await left).toEqual({ done: true, value: undefined });
  read.resolve();
  expect((await received).value).toMatchObject({ data: { live: { to: expect.anything() } } });
  expect(signals.map((signal) => signal?.aborted ?? false)).toEqual([false]);
  await second.return?.();
});
