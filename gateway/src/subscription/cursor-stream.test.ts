import type { PokeListener } from "@continuo/signals";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { eventually } from "../fixtures/eventually.ts";
import { iterate } from "../fixtures/iterate.ts";
import { createRounds } from "../rounds.ts";
import { type CursorSource, openCursorStream } from "./cursor-stream.ts";

interface Owner {
  /** The number of changes so far; a cursor is how many of them have been read. */
  head: number;
  pageSize: number;
  /** What the next reads throw, one after the other. */
  failures: unknown[];
  readonly reads: (string | null)[];
  /** The `heard` of each read. */
  readonly heard: (number | undefined)[];
  /** Holds events back until it resolves. */
  completed?: Promise<void>;
  /** Thrown by `listen`. */
  deafness?: Error;
  /** The arguments of each backoff. */
  readonly waits: [number, unknown][];
  readonly listeners: Set<PokeListener>;
  poke(): void;
}

const OUTAGE = new Error("outage");

function createOwner(): Owner {
  return {
    head: 0,
    pageSize: 10,
    failures: [],
    reads: [],
    heard: [],
    waits: [],
    listeners: new Set(),
    poke() {
      for (const listener of this.listeners) listener.onPoke(this.head);
    },
  };
}

async function open(
  owner: Owner,
  cursor: string | null = null,
  recheckMs = 3_600_000,
  random = 0.5,
): Promise<AsyncIterableIterator<string, undefined>> {
  const options = {
    rechecks: createRounds(recheckMs / 2),
    gapSpreadMs: 40,
    random: () => random,
    backoffMs(failures: number, thrown: unknown) {
      owner.waits.push([failures, thrown]);
      return 1;
    },
    isOutage: (thrown: unknown) => thrown === OUTAGE,
  };
  const source: CursorSource<string> = {
    async listen(listener) {
      if (owner.deafness) throw owner.deafness;
      owner.listeners.add(listener);
      return {
        async [Symbol.asyncDispose]() {
          owner.listeners.delete(listener);
        },
      };
    },
    async read(after, _waiting, heard) {
      owner.reads.push(after);
      owner.heard.push(heard);
      const failure = owner.failures.shift();
      if (failure !== undefined) throw failure;
      const from = Number(after ?? 0);
      const to = Math.min(owner.head, from + owner.pageSize);
      const event = async (): Promise<string> => {
        await owner.completed;
        return `${from}-${to}`;
      };
      return { to: String(to), hasMore: to < owner.head, event };
    },
  };
  return iterate((subscriber) => openCursorStream(options, source, cursor, subscriber));
}

describe("a stream by cursor", () => {
  it("sends the first batch even when it is empty, and then only what is new", async () => {
    const owner = createOwner();
    const stream = await open(owner);
    expect(await stream.next()).toEqual({ done: false, value: "0-0" });
    const next = stream.next();
    owner.poke();
    await eventually(() => expect(owner.reads).toHaveLength(2));
    owner.head = 3;
    owner.poke();
    expect(await next).toEqual({ done: false, value: "0-3" });
    await stream.return?.();
  });

  it("reads on while there is more, without a poke", async () => {
    const owner = createOwner();
    owner.head = 25;
    const stream = await open(owner);
    expect([await stream.next(), await stream.next(), await stream.next()].map(({ value }) => value)).toEqual([
      "0-10",
      "10-20",
      "20-25",
    ]);
    await stream.return?.();
  });

  it("makes one read of any number of pokes while the client is slow", async () => {
    const owner = createOwner();
    const stream = await open(owner);
    await stream.next();
    for (let change = 1; change <= 100; change += 1) {
      owner.head = change % 10;
      owner.poke();
    }
    owner.head = 9;
    expect(await stream.next()).toEqual({ done: false, value: "0-9" });
    expect(owner.reads).toHaveLength(2);
    await stream.return?.();
  });

  it("hears a poke that comes during a read", async () => {
    const owner = createOwner();
    const stream = await open(owner);
    const first = stream.next();
    owner.poke();
    await first;
    owner.head = 1;
    expect(await stream.next()).toEqual({ done: false, value: "0-1" });
    await stream.return?.();
  });

  it("says to which poke a read is due, the latest of several, and nothing where it is due to something else", async () => {
    const owner = createOwner();
    const stream = await open(owner);
    await stream.next();
    const [listener] = owner.listeners;
    const news = async (...numbers: number[]): Promise<void> => {
      owner.head += 1;
      for (const number of numbers) listener?.onPoke(number);
      await stream.next();
    };
    await news(7);
    await news(8, 10, 9);
    expect(owner.heard).toEqual([undefined, 7, 10]);
    // A poke's read does not replace the one due after a gap.
    listener?.onGap();
    await news(11);
    await news();
    expect(owner.heard.slice(3)).toEqual([11, undefined]);
    // Nor the one that is due after an outage.
    owner.failures = [OUTAGE];
    await news(12);
    expect(owner.heard.slice(5)).toEqual([12, undefined]);
    await stream.return?.();
  });

  it.each([
    ["at once", 0, 0],
    ["later", 0.75, 25],
  ])("reads within a while of a gap, each at a time of its own: %s", async (_when, random, waitedMs) => {
    const owner = createOwner();
    const stream = await open(owner, null, 3_600_000, random);
    await stream.next();
    owner.head = 1;
    const startedAt = performance.now();
    for (const listener of owner.listeners) listener.onGap();
    expect(await stream.next()).toEqual({ done: false, value: "0-1" });
    expect(performance.now() - startedAt).toBeGreaterThanOrEqual(waitedMs);
    await stream.return?.();
  });

  it("finds out without a poke, a little later", async () => {
    const owner = createOwner();
    const stream = await open(owner, null, 5);
    await stream.next();
    owner.head = 1;
    expect(await stream.next()).toEqual({ done: false, value: "0-1" });
    await stream.return?.();
  });

  it("outlives an outage, keeping its place", async () => {
    const owner = createOwner();
    owner.head = 7;
    owner.failures = [OUTAGE, OUTAGE];
    const stream = await open(owner, "4");
    expect(await stream.next()).toEqual({ done: false, value: "4-7" });
    expect(owner.reads).toEqual(["4", "4", "4"]);
    expect(owner.waits).toEqual([
      [1, OUTAGE],
      [2, OUTAGE],
    ]);
    await stream.return?.();
  });

  it("ends with what the owner refuses, and lets go", async () => {
    const owner = createOwner();
    owner.failures = [new Error("refused")];
    const stream = await open(owner);
    await expect(stream.next()).rejects.toThrow("refused");
    expect(owner.listeners.size).toBe(0);
    expect(await stream.next()).toEqual({ done: true, value: undefined });
  });

  it("ends with why it cannot listen, and reads nothing", async () => {
    const owner = createOwner();
    owner.deafness = new Error("deaf");
    const stream = await open(owner);
    await expect(stream.next()).rejects.toThrow("deaf");
    expect(owner.reads).toEqual([]);
  });

  it("ends at once for a client that leaves while nothing happens", async () => {
    const owner = createOwner();
    const stream = await open(owner);
    await stream.next();
    const waiting = stream.next();
    await new Promise(setImmediate);
    await stream.return?.();
    expect(owner.reads).toHaveLength(1);
    expect(await waiting).toEqual({ done: true, value: undefined });
    expect(owner.listeners.size).toBe(0);
  });

  it("tells nothing to a client that has left while its event was completed", async () => {
    const owner = createOwner();
    const { promise, resolve } = Promise.withResolvers<void>();
    owner.completed = promise;
    const stream = await open(owner);
    await eventually(() => expect(owner.reads).toHaveLength(1));
    await stream.return?.();
    resolve();
    await new Promise(setImmediate);
    expect(await stream.next()).toEqual({ done: true, value: undefined });
  });

  it("delivers every change once and in order, whatever pokes, outages and page sizes come", async () => {
    const steps = fc.array(fc.constantFrom("change", "poke", "outage", "lost"), { maxLength: 30 });
    await fc.assert(
      fc.asyncProperty(steps, fc.integer({ min: 1, max: 4 }), async (happenings, pageSize) => {
        const owner = createOwner();
        owner.pageSize = pageSize;
        const stream = await open(owner, null, 2);
        const seen: string[] = [];
        const consuming = (async () => {
          for await (const batch of stream) {
            seen.push(batch);
            if (batch.endsWith("-31")) return;
          }
        })();
        for (const happening of happenings) {
          if (happening === "change") owner.head += 1;
          if (happening === "change" || happening === "poke") owner.poke();
          if (happening === "outage") owner.failures.push(OUTAGE);
          if (happening === "lost") await Promise.resolve();
        }
        owner.head = 31;
        await consuming;
        const bounds = seen.map((batch) => batch.split("-"));
        expect(["0", ...bounds.map(([, to]) => to)]).toEqual([...bounds.map(([from]) => from), "31"]);
      }),
      { numRuns: 50 },
    );
  });
});
