/** No subscriber ever receives another's data, whatever is selected, shared and interleaved. */
import type { Caller, Viewer } from "@continuo/access";
import fc from "fast-check";
import { setImmediate as turn } from "node:timers/promises";
import { expect, it } from "vitest";
import { createLiveGraph, LIVE_SUPERGRAPH, type LiveGraph, personOf } from "../fixtures/live-graph.ts";
import { createMockSubgraphs } from "../fixtures/mock-subgraphs.ts";
import { LIVE_FIELDS } from "../fixtures/test-supergraph.ts";
import type { Answer } from "../plan/operation.ts";
import type { DataSource } from "../subgraph/data-source.ts";
import { isRecord } from "../subgraph/subgraph-error.ts";
import { COMMON, Scope } from "./scope.ts";

const mock = createMockSubgraphs(LIVE_SUPERGRAPH);
const ADA = personOf("ada");
/** Two sessions of one person in an application, another person there, and the first person in another application. */
const VIEWERS = [
  ADA,
  personOf("ada", { session: "ada2" }),
  personOf("alan"),
  personOf("ada", { session: "ada3", applicationId: "b" }),
];

/** Some share a text, and so a plan; an alias stands for different fields in different selections. */
const SELECTIONS = [
  "{ to products { id x: sku y: name reviews { x: text author { name email } } } }",
  "{ to products { id x: name y: sku computedShipping computedRisk } }",
  "{ a: product { maker { x: name best { name } } } b: product { topReview { x: text about { title } } } }",
  "{ item { name ... on Product { reviews { witnesses { name } } } } anything { ... on Maker { name } } settings { theme } }",
  "{ products { id x: sku } }",
];
const FIELDS = Object.keys(LIVE_FIELDS);
const subscriptionOf = (selection: string, field = "changed"): string =>
  `subscription ($since: String) { live: ${field}(since: $since) ${selection} }`;

/** Marks data with those who may receive it. */
const markOf = (scope: Scope, viewer: Viewer): string =>
  [scope, ...COMMON[scope].map((place) => viewer[place])].join("-");
const marksFor = (viewer: Viewer): string[] => Scope.options.map((scope) => markOf(scope, viewer));

/** The mark of an answer to `caller`: the viewer's own, unless the field's answers are shared by scope. */
function ownerOf(caller: Caller, query: string): string {
  switch (caller.kind) {
    case "viewer":
      return markOf(/\bchanges\(/.test(query) ? "USER" : "VIEWER", caller.viewer);
    case "application":
      return `APPLICATION-${caller.applicationId}`;
    case "anonymous":
    case "service":
      return "PUBLIC";
  }
}

/** The same data, its strings saying whose they are. */
function marked(data: Record<string, unknown>, owner: string): Record<string, unknown> {
  return JSON.parse(JSON.stringify(data), (key, value: unknown) =>
    typeof value === "string" && key !== "__typename" ? `${value}@${owner}` : value,
  );
}

function freeze(value: unknown): void {
  if (typeof value !== "object" || value === null) return;
  Object.values(Object.freeze(value)).forEach(freeze);
}

const ownersIn = (value: unknown): string[] =>
  [...new Set([...JSON.stringify(value ?? null).matchAll(/@([\w-]+)/g)].map(([, owner = ""]) => owner))].sort();
const seedOf = (owner: string): number => Buffer.from(owner).reduce((sum, byte) => (sum * 7 + byte) % 1_000, 0);

interface World {
  /** Lets an answer through. */
  readonly pass: () => Promise<void>;
  /** How far the changes are. */
  readonly head: () => number;
  /** Sessions that subgraphs refuse. */
  readonly ended: ReadonlySet<string>;
  /** The error code they refuse with. */
  readonly refusal?: "UNAUTHENTICATED" | "FORBIDDEN" | "STEP_UP_REQUIRED";
  readonly mixedUp: string[];
}

function open({ pass, head, ended, refusal: code = "UNAUTHENTICATED", mixedUp }: World): LiveGraph {
  const sourceOf =
    (name: string): DataSource =>
    async (request, scope) => {
      const { caller } = scope;
      const owner = ownerOf(caller, request.query);
      await pass();
      if (caller.kind === "viewer" && ended.has(caller.viewer.sessionId))
        return { data: null, errors: [{ message: "Not for you.", extensions: { code, reason: "REFUSED" } }] };
      const own = caller.kind === "viewer" ? marksFor(caller.viewer) : [owner];
      const others = ownersIn(request.variables["representations"]).filter((mark) => !own.includes(mark));
      mixedUp.push(...others.map((other) => `keys of ${other} were sent as ${owner}`));
      const isRead = "cursor" in request.variables;
      // The fields that complete an event declare no scope, so they must be fetched as the viewer.
      if (!isRead && caller.kind !== "viewer") mixedUp.push(`what completes an event was asked as ${owner}`);
      const variables = isRead ? { cursor: null } : request.variables;
      const weather = { seed: seedOf(owner), errors: 0, nulls: 10, broken: 0 };
      const answer = await mock(weather).get(name)?.({ ...request, variables }, scope);
      await pass();
      const data = answer?.data ? marked(answer.data, owner) : null;
      if (isRead && isRecord(data?.["live"])) {
        Object.assign(data["live"], { cursor_to: `${head()}`, cursor_hasMore: false });
        // An event may be shared; what completes it belongs to one viewer.
        freeze(data);
      }
      return { data, errors: answer?.errors ?? [] };
    };
  return createLiveGraph(sourceOf);
}

type Step =
  | { readonly does: "subscribe"; readonly viewer: Viewer; readonly field: string; readonly selection: string }
  | { readonly does: "change"; readonly viewer: Viewer }
  | { readonly does: "leave" | "end"; readonly subscriber: number };

interface Subscriber {
  readonly viewer: Viewer;
  readonly field: string;
  readonly selection: string;
  readonly events: Answer[];
  failed: unknown;
  readonly leave: () => Promise<unknown>;
}

const viewers = fc.constantFrom(...VIEWERS);
const subscribing = fc.record({
  does: fc.constant("subscribe" as const),
  viewer: viewers,
  field: fc.constantFrom(...FIELDS),
  selection: fc.constantFrom(...SELECTIONS),
});
const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    { weight: 3, arbitrary: subscribing },
    { weight: 2, arbitrary: fc.record({ does: fc.constant("change" as const), viewer: viewers }) },
    fc.record({ does: fc.constantFrom("leave" as const, "end" as const), subscriber: fc.nat(9) }),
  ),
  { minLength: 4, maxLength: 30, size: "max" },
);

it("every event is its subscriber's own, whatever is selected, shared by whom, and interleaved", async () => {
  const received = new Map<string, number>();
  const calm = open({ head: () => 0, mixedUp: [], ended: new Set(), pass: async () => undefined });
  const told = new Map<string, Promise<string>>();
  const toldAlone = async ({ viewer, field, selection }: Subscriber): Promise<string> => {
    const alone = await calm.subscribe(subscriptionOf(selection, field), { since: "0" }, viewer);
    const { value } = await alone.next();
    await alone.return?.();
    return JSON.stringify(value);
  };
  await fc.assert(
    fc.asyncProperty(fc.scheduler(), steps, async (scheduler, plan) => {
      let head = 0;
      const ended = new Set<string>();
      const mixedUp: string[] = [];
      const graph = open({ head: () => head, mixedUp, ended, pass: () => scheduler.schedule(Promise.resolve()) });
      const subscribers: Subscriber[] = [];
      const consuming: Promise<void>[] = [];
      for (const step of plan) {
        const subscriber = "subscriber" in step ? subscribers[step.subscriber % subscribers.length] : undefined;
        if (step.does === "subscribe") {
          const { viewer, field, selection } = step;
          // All have the same cursor.
          const stream = await graph.subscribe(subscriptionOf(selection, field), { since: "0" }, viewer);
          const leave = async (): Promise<unknown> => stream.return?.();
          const begun: Subscriber = { viewer, field, selection, events: [], failed: undefined, leave };
          subscribers.push(begun);
          const consume = async (): Promise<void> => {
            for await (const event of stream) begun.events.push(event);
          };
          consuming.push(consume().catch((cause: unknown) => void (begun.failed = cause)));
        } else if (step.does === "change") {
          head += 1;
          await graph.poke(step.viewer);
        } else if (step.does === "leave") await subscriber?.leave();
        else if (subscriber) ended.add(subscriber.viewer.sessionId);
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
      for (const subscriber of subscribers) {
        const { viewer, field, selection, events, failed } = subscriber;
        const allowed = [markOf(LIVE_FIELDS[field]?.scope ?? "VIEWER", viewer), markOf("VIEWER", viewer)];
        for (const event of events) for (const owner of ownersIn(event.data)) expect(allowed).toContain(owner);
        received.set(field, (received.get(field) ?? 0) + events.length);
        if (ended.has(viewer.sessionId)) continue;
        // The end of another session must not affect this one.
        expect(failed).toBeUndefined();
        const key = JSON.stringify([viewer, field, selection]);
        const expected = told.get(key) ?? toldAlone(subscriber);
        told.set(key, expected);
        for (const event of events) expect(JSON.stringify(event)).toBe(await expected);
      }
    }),
    { numRuns: 30, endOnFailure: true },
  );
  for (const field of FIELDS) expect(received.get(field)).toBeGreaterThan(10);
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
  const text = subscriptionOf("{ to }");
  const [first, second] = await Promise.all([
    graph.subscribe(text, { since: "0" }, ADA),
    graph.subscribe(text, { since: "0" }, ADA),
  ]);
  const [left, received] = [first.next(), second.next()];
  await expect.poll(() => signals.length).toBe(1);
  await first.return?.();
  expect(await left).toEqual({ done: true, value: undefined });
  read.resolve();
  expect((await received).value).toMatchObject({ data: { live: { to: expect.anything() } } });
  expect(signals.map((signal) => signal?.aborted ?? false)).toEqual([false]);
  await second.return?.();
});

it.each(["UNAUTHENTICATED", "FORBIDDEN", "STEP_UP_REQUIRED"] as const)(
  "whose session is refused is so alone, by %s: the others are read for as the next of them",
  async (refusal) => {
    const viewers = ["1", "2", "3", "4"].map((session) => personOf("ada", { session }));
    const ended = new Set(["1", "2"]);
    const graph = open({ head: () => 1, ended, refusal, mixedUp: [], pass: async () => undefined });
    const streams = await Promise.all(
      viewers.map((viewer) => graph.subscribe(subscriptionOf("{ to }"), { since: "0" }, viewer)),
    );
    const told = await Promise.allSettled(streams.map((stream) => stream.next()));
    expect(told.map(({ status }) => status)).toEqual(["rejected", "rejected", "fulfilled", "fulfilled"]);
    await Promise.all(streams.map(async (stream) => stream.return?.()));
  },
);
