import { createTestDatabase } from "@continuo/testkit";
import { Client } from "pg";
import { describe, expect, inject, test } from "vitest";
import { tellStory } from "./story.ts";
import { startSystem } from "./system.ts";

const redisUrl = inject("redisUrl");

describe.skipIf(redisUrl === null)("scaled out over Redis", () => {
  test("the story holds with two of everything, the phone on one gateway and the laptop on the other", async () => {
    await using database = await createTestDatabase();
    await using system = await startSystem({ databaseUrl: database.url, redisUrl: redisUrl ?? undefined, replicas: 2 });
    const steps: string[] = [];

    await tellStory({ gateways: system.urls, narrate: ({ text }) => steps.push(text) });

    expect(steps.at(-1)).toMatch(/^and erase it/);
    expect(await replicasThatConfirmed(database.adminUrl)).toBe(2);
  });
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
