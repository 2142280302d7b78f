/** The tests that every backend of the replay cache must pass. */
import { createLogger } from "@continuo/process";
import type { FaultProxy } from "@continuo/testkit";
import { randomUUID } from "node:crypto";
import { describe, expect, test, vi } from "vitest";
import { startReplayCache, type ReplayCache } from "./replay-cache.ts";

/** A store, reached through a network that can fail. */
export interface Store extends AsyncDisposable {
  readonly databaseUrl: string;
  readonly redisUrl?: string;
  readonly proxy: FaultProxy;
}

const LIFE_MS = 60_000;
const logger = createLogger({ name: "replay-cache", level: "silent" });

export function describeReplayCache(name: string, openStore: () => Promise<Store>): void {
  const start = (store: Store): Promise<ReplayCache & AsyncDisposable> => startReplayCache({ ...store, logger });

  describe(`a replay cache over ${name}`, () => {
    test("lets a key be used once, by whichever replica", async () => {
      await using store = await openStore();
      await using here = await start(store);
      await using there = await start(store);
      const key = randomUUID();
      expect(await here.reserve(key, LIFE_MS)).toBe(true);
      expect(await here.reserve(key, LIFE_MS)).toBe(false);
      expect(await there.reserve(key, LIFE_MS)).toBe(false);
      expect(await there.reserve(randomUUID(), LIFE_MS)).toBe(true);
    });

    test("lets one of fifty that come at once have the key", async () => {
      await using store = await openStore();
      await using here = await start(store);
      await using there = await start(store);
      const key = randomUUID();
      const answers = await Promise.all(
        Array.from({ length: 50 }, (_, index) => (index % 2 === 0 ? here : there).reserve(key, LIFE_MS)),
      );
      expect(answers.filter(Boolean)).toHaveLength(1);
    });

    test("says that it cannot know while the store is away, and knows again when it is back", async () => {
      await using store = await openStore();
      await using cache = await start(store);
      const [before, during] = [randomUUID(), randomUUID()];
      await cache.reserve(before, LIFE_MS);
      store.proxy.down();
      await expect(cache.reserve(during, LIFE_MS)).rejects.toMatchObject({
        code: "UNAVAILABLE",
        reason: "REPLAY_UNKNOWN",
      });
      store.proxy.heal();
      await vi.waitFor(async () => expect(await cache.reserve(before, LIFE_MS)).toBe(false), 60_000);
      expect(await cache.reserve(during, LIFE_MS)).toBe(true);
    });

    test("says that it cannot know when the store is there and says nothing", async () => {
      await using store = await openStore();
      await using cache = await start(store);
      await cache.reserve(randomUUID(), LIFE_MS);
      store.proxy.freeze();
      await expect(cache.reserve(randomUUID(), LIFE_MS)).rejects.toMatchObject({ reason: "REPLAY_UNKNOWN" });
      store.proxy.heal();
    });

    test("starts while the store is away", async () => {
      await using store = await openStore();
      store.proxy.down();
      await using cache = await start(store);
      await expect(cache.reserve("key", LIFE_MS)).rejects.toMatchObject({ reason: "REPLAY_UNKNOWN" });
      store.proxy.heal();
      await vi.waitFor(async () => expect(await cache.reserve(randomUUID(), LIFE_MS)).toBe(true), 60_000);
    });
  });
}
