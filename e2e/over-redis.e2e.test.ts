/** Two of everything, and a Redis that carries pokes and jobs, which is killed at the end. */
import { createTestDatabase, findRedisServer, freePort, startRedisServer, type RedisServer } from "@continuo/testkit";
import { Client } from "pg";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { describeCanaries } from "./canaries.suite.ts";
import { gather } from "./crowd.ts";
import { pairsOf, say, signOutPhone } from "./cut-off.ts";
import { tellStory } from "./story.ts";
import { startSystem, type System } from "./system.ts";
import { describeTakeOver } from "./take-over.suite.ts";
import { describeUsers } from "./users.suite.ts";

const binary = findRedisServer();
const given = inject("redisUrl");

describe.skipIf(binary === undefined && given === null)("scaled out over Redis", () => {
  const opened = new AsyncDisposableStack();
  let system: System;
  let adminUrl: string;
  let redisUrl: string;
  let redis: RedisServer | undefined;
  /** A Redis of our own, if a server is installed, so that it can be killed. */
  const startRedis = async (port: number): Promise<RedisServer> =>
    opened.use(await startRedisServer({ binary: binary ?? "", port }));
  beforeAll(async () => {
    const database = opened.use(await createTestDatabase());
    ({ adminUrl } = database);
    if (binary !== undefined) redis = await startRedis(await freePort());
    redisUrl = redis?.url ?? given ?? "";
    system = opened.use(await startSystem({ databaseUrl: database.url, redisUrl, replicas: 2, logLevel: "trace" }));
  });
  afterAll(() => opened.disposeAsync());

  test("the story holds with two of everything, the phone on one gateway and the laptop on the other", async () => {
    const steps: string[] = [];

    await tellStory({ gateways: system.urls, narrate: ({ text }) => steps.push(text) });

    expect(steps.at(-1)).toMatch(/^and erase it/);
    expect(await replicasThatConfirmed(adminUrl)).toBe(2);
  });

  // Here, events pass from identity's outbox through a queue in Redis to session's worker, and by a poke in Redis to
  // both gateways.
  describeUsers(() => ({ system, adminUrl }));
  describeTakeOver(() => system);
  describeCanaries("Redis", () => ({ system, adminUrl, redisUrl }));

  // Last, because it replaces Redis.
  test.skipIf(binary === undefined)(
    "Redis is killed: the log is read all the same, and pokes come again with it",
    async () => {
      if (redis === undefined) throw new Error("there is no Redis of our own");
      await using some = await gather(system, [{ applicationId: "continuo", people: 4, devices: 2 }]);
      const [there, gone, back] = pairsOf(some.members);
      if (!there || !gone || !back) throw new Error("somebody is missing");
      say("closed with Redis", await signOutPhone(there, system));
      await redis[Symbol.asyncDispose]();
      say("closed without Redis", await signOutPhone(gone, system));
      await startRedis(redis.port);
      say("closed with Redis again", await signOutPhone(back, system));
      expect(some.open).toBe(4 * (some.members.length - 3));
    },
  );
});

async function replicasThatConfirmed(adminUrl: string): Promise<number> {
  const client = new Client({ connectionString: adminUrl });
  await client.connect();
  try {
    const { rows } = await client.query<{ replicas: number }>(
      "SELECT count(DISTINCT replica)::int AS replicas FROM session.revocation_acks",
    );
    return rows[0]?.replicas ?? 0;
  } finally {
    await client.end();
  }
}
