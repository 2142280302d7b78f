import { randomUUID } from "node:crypto";
import { describe, expect, inject, test } from "vitest";
import { openRedisBus } from "./fixtures/bus.ts";
import { silent } from "./fixtures/settings.ts";
import { describePokes } from "./pokes.suite.ts";
import { createRedisListener } from "./redis-listener.ts";
import { attempted, createSender, parseRedisUrl } from "./redis.ts";
import { startPokes } from "./start-pokes.ts";

const redisUrl = inject("redisUrl");

describe.skipIf(redisUrl === null)("with a Redis", () => {
  describePokes("Redis", () => openRedisBus(redisUrl ?? ""));

  test("a process is sent no topic that nobody there listens to any more", async () => {
    const topic = randomUUID();
    await using bus = await openRedisBus(redisUrl ?? "");
    await using pokes = await startPokes({ ...bus, logger: silent });
    const redis = createSender(parseRedisUrl(redisUrl ?? ""));
    await using _redis = { [Symbol.asyncDispose]: async () => redis.disconnect() };
    await attempted(redis);
    const subscribers = async (): Promise<unknown> => (await redis.pubsub("NUMSUB", `continuo:poke:${topic}`))[1];
    const ear = { onPoke: () => undefined, onGap: () => undefined };
    const [one, other] = [await pokes.subscribe(topic, ear), await pokes.subscribe(topic, ear)];
    await one[Symbol.asyncDispose]();
    expect(await subscribers()).toBe(1);
    await other[Symbol.asyncDispose]();
    expect(await subscribers()).toBe(0);
  });

  test("a topic that is added while a connection is being opened is heard on it", async () => {
    const prefix = `${randomUUID()}:`;
    const target = parseRedisUrl(redisUrl ?? "");
    const heard: string[] = [];
    let adding: Promise<void> | undefined;
    const listener = createRedisListener({
      target,
      prefix,
      topics() {
        adding = listener.add("late");
        return ["early"];
      },
      hear: (topic) => heard.push(topic),
      logger: silent,
    });
    await using _line = await listener.open();
    await adding;
    const redis = createSender(target);
    await using _redis = { [Symbol.asyncDispose]: async () => redis.disconnect() };
    await attempted(redis);
    for (const topic of ["late", "early"]) await redis.publish(prefix + topic, "");
    await expect.poll(() => heard).toEqual(["late", "early"]);
  });

  test("that refuses the password, the reason is told", async () => {
    const url = new URL(redisUrl ?? "");
    url.username = "nobody";
    url.password = "wrong";
    const listener = createRedisListener({
      target: parseRedisUrl(url.href),
      prefix: "",
      topics: () => [],
      hear: () => undefined,
      logger: silent,
    });
    await expect(listener.open()).rejects.toThrow("WRONGPASS");
  });
});
