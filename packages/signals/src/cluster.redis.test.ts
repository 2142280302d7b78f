/** Redis as a cluster, and Redis that dies: what a single server behind a proxy cannot show. */
import { randomUUID } from "node:crypto";
import { createTestDatabase, findRedisServer, startRedisServer } from "@continuo/testkit";
import type { Cluster, Redis } from "ioredis";
import { describe, expect, test, vi } from "vitest";
import { z } from "zod";
import { startRedisCluster } from "./fixtures/redis-cluster.ts";
import { silent, tell } from "./fixtures/settings.ts";
import { defineJob } from "./jobs.ts";
import { connectRedis } from "./redis.ts";
import { startJobs } from "./start-jobs.ts";
import { startPokes } from "./start-pokes.ts";

const binary = findRedisServer() ?? "";
const soon = { timeout: 60_000, interval: 20 };

describe.skipIf(binary === "")("with a redis-server of our own", () => {
  test("pokes and jobs pass through a cluster, also once one of its nodes has died", async () => {
    await using cluster = await startRedisCluster(binary);
    const bus = { databaseUrl: "", redisUrl: cluster.url, logger: silent };
    await using here = await startPokes(bus);
    await using there = await startPokes(bus);
    const heard = new Map<string, number>();
    const topics = Array.from({ length: 30 }, () => randomUUID());
    let gaps = 0;
    for (const topic of topics)
      await there.subscribe(topic, {
        onPoke: (number) => void heard.set(topic, number),
        onGap: () => void (gaps += 1),
      });
    await Promise.all(topics.map((topic) => here.publish(topic, 1)));
    await vi.waitFor(() => expect([...heard.values()]).toEqual(topics.map(() => 1)), soon);

    await using jobs = await startJobs(bus);
    const ran: string[] = [];
    await jobs.work(tell, async ({ subject }) => void ran.push(subject));
    await jobs.enqueue(tell, { subject: "through a cluster" });
    await vi.waitFor(() => expect(ran).toEqual(["through a cluster"]), soon);

    // The subscribers are on the first node of the list.
    await cluster.nodes[0]?.[Symbol.asyncDispose]();
    await vi.waitFor(() => expect(gaps).toBeGreaterThanOrEqual(topics.length), soon);
    await vi.waitFor(async () => {
      await Promise.all(topics.map((topic) => here.publish(topic, 2)));
      expect([...heard.values()].filter((number) => number === 2).length).toBeGreaterThan(0);
    }, soon);
  });

  test("a client of a cluster keeps each key on its node, so that of two writers one is first", async () => {
    await using cluster = await startRedisCluster(binary);
    await using stack = new AsyncDisposableStack();
    const options = {
      enableOfflineQueue: false,
      maxRetriesPerRequest: 0,
      socketTimeout: 5_000,
      onError: () => undefined,
    };
    const connect = async (): Promise<Redis | Cluster> =>
      stack.adopt(await connectRedis(cluster.url, options), (redis) => redis.disconnect());
    const [here, there] = [await connect(), await connect()];
    const keys = Array.from({ length: 100 }, () => randomUUID());
    const write = (redis: Redis | Cluster, key: string): Promise<string | null> =>
      redis.set(key, "", "PX", 60_000, "NX");
    const answers = await Promise.all(keys.flatMap((key) => [write(here, key), write(there, key)]));
    expect(answers.filter((answer) => answer === "OK")).toHaveLength(keys.length);
  });

  test("a Redis that dies and comes back empty has its pokes, jobs and schedules again", async () => {
    await using database = await createTestDatabase();
    const first = await startRedisServer({ binary });
    const bus = { databaseUrl: database.url.session, redisUrl: first.url, logger: silent };
    await using pokes = await startPokes(bus);
    await using jobs = await startJobs({ ...bus, assertSchedulesEveryMs: 200 });
    const tick = defineJob({ name: "tick", schema: z.object({}), attempts: 1, backoffMs: 10 });
    const listener = { onPoke: vi.fn<(number: number) => void>(), onGap: vi.fn<() => void>() };
    const ran: string[] = [];
    let ticks = 0;
    await pokes.subscribe("topic", listener);
    await jobs.work(tell, async ({ subject }) => void ran.push(subject));
    await jobs.work(tick, async () => void (ticks += 1));
    await jobs.every(tick, { everyMs: 200 });
    await vi.waitFor(() => expect(ticks).toBeGreaterThan(1), soon);

    await first[Symbol.asyncDispose]();
    await using second = await startRedisServer({ binary, port: first.port });
    ticks = 0;
    await vi.waitFor(() => expect(listener.onGap).toHaveBeenCalled(), soon);
    await vi.waitFor(async () => {
      await pokes.publish("topic", 9);
      expect(listener.onPoke).toHaveBeenCalledWith(9);
    }, soon);
    await vi.waitFor(() => jobs.enqueue(tell, { subject: "afterwards" }, { jobId: "afterwards" }), soon);
    await vi.waitFor(() => expect(ran).toEqual(["afterwards"]), soon);
    await vi.waitFor(() => expect(ticks).toBeGreaterThan(1), soon);

    // Everything else is closed after the server is gone for good.
    await second[Symbol.asyncDispose]();
  });
});
