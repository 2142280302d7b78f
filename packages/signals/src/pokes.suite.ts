/** What a bus of pokes guarantees on either backend. */
import { randomUUID } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import type { Bus, OpenBus } from "./fixtures/bus.ts";
import { startChild } from "./fixtures/child.ts";
import { silent } from "./fixtures/settings.ts";
import type { PokeListener, Pokes } from "./pokes.ts";
import { startPokes } from "./start-pokes.ts";

interface Ear extends PokeListener {
  readonly heard: number[];
  gaps: number;
}

function ear(): Ear {
  const heard: number[] = [];
  return {
    heard,
    gaps: 0,
    onPoke: (number) => heard.push(number),
    onGap() {
      this.gaps += 1;
    },
  };
}

const soon = { timeout: 60_000, interval: 10 };

export function describePokes(name: string, openBus: OpenBus): void {
  describe(`pokes over ${name}`, () => {
    let bus: Bus;
    beforeAll(async () => {
      bus = await openBus();
    });
    afterAll(() => bus[Symbol.asyncDispose]());
    const start = (): Promise<Pokes> => startPokes({ ...bus, logger: silent });

    test("a poke reaches every subscriber of its topic, and no other topic", async () => {
      await using pokes = await start();
      const [topic, other] = [randomUUID(), randomUUID()];
      const [first, second, stranger] = [ear(), ear(), ear()];
      await pokes.subscribe(topic, first);
      await pokes.subscribe(topic, second);
      await pokes.subscribe(other, stranger);
      await pokes.publish(topic, 41);
      await pokes.publish(other, 42);
      await vi.waitFor(() => expect(stranger.heard).toEqual([42]), soon);
      expect(first.heard).toEqual([41]);
      expect(second.heard).toEqual([41]);
      expect([first.gaps, second.gaps, stranger.gaps]).toEqual([0, 0, 0]);
    });

    test("a topic may hold colons, and a number may be as large as a safe integer", async () => {
      await using pokes = await start();
      const topic = `outbox:${randomUUID()}:a:1`;
      const listener = ear();
      await pokes.subscribe(topic, listener);
      await pokes.publish(topic, Number.MAX_SAFE_INTEGER);
      await vi.waitFor(() => expect(listener.heard).toEqual([Number.MAX_SAFE_INTEGER]), soon);
    });

    test("a burst over many topics tells the highest number of each, whichever comes last", async () => {
      await using pokes = await start();
      await using others = await start();
      const topics = Array.from({ length: 200 }, () => randomUUID());
      const ears = await Promise.all(
        topics.map(async (topic) => {
          const listener = ear();
          await others.subscribe(topic, listener);
          return listener;
        }),
      );
      await Promise.all(
        Array.from({ length: 10 }, (_, number) => topics.map((topic) => pokes.publish(topic, 9 - number))).flat(),
      );
      await vi.waitFor(() => expect(ears.every(({ heard }) => Math.max(...heard) === 9)).toBe(true), soon);
    });

    test("a poke from another process arrives", async () => {
      await using pokes = await start();
      const topic = randomUUID();
      const listener = ear();
      await pokes.subscribe(topic, listener);
      await using child = startChild("publisher", { databaseUrl: bus.databaseUrl, redisUrl: bus.redisUrl, topic });
      await child.line("published");
      await vi.waitFor(() => expect(listener.heard).toEqual([7]), soon);
    });

    test("nothing is heard after unsubscribing, and the topic's other subscribers still hear", async () => {
      await using pokes = await start();
      const topic = randomUUID();
      const [gone, stays] = [ear(), ear()];
      const subscription = await pokes.subscribe(topic, gone);
      await pokes.subscribe(topic, stays);
      await subscription[Symbol.asyncDispose]();
      await pokes.publish(topic, 1);
      await vi.waitFor(() => expect(stays.heard).toEqual([1]), soon);
      expect(gone.heard).toEqual([]);
    });

    test("a topic can be left and joined again", async () => {
      await using pokes = await start();
      const topic = randomUUID();
      for (const number of [1, 2, 3]) {
        const listener = ear();
        const subscription = await pokes.subscribe(topic, listener);
        await pokes.publish(topic, number);
        await vi.waitFor(() => expect(listener.heard).toEqual([number]), soon);
        await subscription[Symbol.asyncDispose]();
      }
    });

    test("a listener that throws takes nothing from the others", async () => {
      await using pokes = await start();
      const topic = randomUUID();
      const listener = ear();
      const faulty = (): never => {
        throw new Error("faulty listener");
      };
      await pokes.subscribe(topic, { onPoke: faulty, onGap: faulty });
      await pokes.subscribe(topic, listener);
      await pokes.publish(topic, 5);
      await vi.waitFor(() => expect(listener.heard).toEqual([5]), soon);
    });

    test("a connection that breaks comes back by itself and tells every subscriber of the gap", async () => {
      await using pokes = await start();
      const topics = [randomUUID(), randomUUID()] as const;
      const ears = [ear(), ear()] as const;
      await pokes.subscribe(topics[0], ears[0]);
      await pokes.subscribe(topics[1], ears[1]);
      bus.proxy.cut();
      await vi.waitFor(() => expect(ears.map(({ gaps }) => gaps)).toEqual([1, 1]), soon);
      await pokeUntilHeard(pokes, topics[0], ears[0]);
      await pokeUntilHeard(pokes, topics[1], ears[1]);
    });

    test("while the bus is down publishing does not throw; when it is back there is a gap and pokes flow", async () => {
      await using pokes = await start();
      await using others = await start();
      const topic = randomUUID();
      const listener = ear();
      await pokes.subscribe(topic, listener);
      bus.proxy.down();
      await others.publish(topic, 1);
      const late = ear();
      await pokes.subscribe(topic, late);
      bus.proxy.heal();
      await vi.waitFor(() => expect([listener.gaps > 0, late.gaps > 0]).toEqual([true, true]), soon);
      await pokeUntilHeard(others, topic, late);
    });

    test("what is lost in an outage is told once, not for each poke", async () => {
      const told = vi.spyOn(silent, "warn");
      const pokes = await start();
      bus.proxy.down();
      vi.useFakeTimers({ toFake: ["performance"] });
      for (let n = 1; n <= 10; n += 1) {
        await pokes.publish(randomUUID(), n);
        await pause(20);
      }
      await pokes[Symbol.asyncDispose]();
      vi.useRealTimers();
      bus.proxy.heal();
      expect(told.mock.calls.filter(([, message]) => /not published/.test(String(message)))).toHaveLength(1);
    });

    test("a process that starts while the bus is down starts, says which server is away, and is told of the gap when it is up", async () => {
      const told = vi.spyOn(silent, "warn");
      bus.proxy.down();
      await using pokes = await start();
      const code = name === "Redis" ? "E_REDIS_UNREACHABLE" : "E_DB_UNREACHABLE";
      expect(told).toHaveBeenCalledWith(
        expect.objectContaining({ err: expect.objectContaining({ code, fix: expect.any(String) }) }),
        expect.any(String),
      );
      const topic = randomUUID();
      const listener = ear();
      await pokes.subscribe(topic, listener);
      bus.proxy.heal();
      await vi.waitFor(() => expect(listener.gaps).toBeGreaterThan(0), soon);
      await pokeUntilHeard(pokes, topic, listener);
    });

    test("a half-open connection is noticed and replaced", async () => {
      await using pokes = await startPokes({ ...bus, logger: silent, probeEveryMs: 100 });
      const topic = randomUUID();
      const listener = ear();
      await pokes.subscribe(topic, listener);
      bus.proxy.freeze();
      await vi.waitFor(() => expect(listener.gaps).toBeGreaterThan(0), soon);
      await pokeUntilHeard(pokes, topic, listener);
    });

    test("closing ends while the bus is down", async () => {
      const pokes = await start();
      await pokes.subscribe(randomUUID(), ear());
      bus.proxy.down();
      await pokes.publish("topic", 1);
      await expect(pokes[Symbol.asyncDispose]()).resolves.toBeUndefined();
      bus.proxy.heal();
    });

    test("after disposal publishing and subscribing say that the process is closing", async () => {
      const pokes = await start();
      await pokes[Symbol.asyncDispose]();
      await expect(pokes.publish("topic", 1)).rejects.toMatchObject({ code: "UNAVAILABLE", reason: "POKES_CLOSED" });
      await expect(pokes.subscribe("topic", ear())).rejects.toMatchObject({
        code: "UNAVAILABLE",
        reason: "POKES_CLOSED",
      });
    });

    test.each([
      ["an empty topic", "", 1],
      ["a topic of 256 characters", "x".repeat(256), 1],
      ["a fraction", "topic", 1.5],
      ["a number beyond the safe integers", "topic", 2 ** 53],
    ])("%s is refused", async (_, topic, number) => {
      await using pokes = await start();
      await expect(pokes.publish(topic, number)).rejects.toThrow(RangeError);
    });
  });
}

/** Pokes until one is heard, because the publisher may still be reconnecting. */
async function pokeUntilHeard(pokes: Pokes, topic: string, { heard }: Ear): Promise<void> {
  const number = 1_000 + heard.length;
  await vi.waitFor(async () => {
    await pokes.publish(topic, number);
    expect(heard).toContain(number);
  }, soon);
}
