import { createTestDatabase } from "@continuo/testkit";
import { expect, test } from "vitest";
import { tellStory } from "./story.ts";
import { startSystem } from "./system.ts";

test("the story holds over real processes, with Postgres carrying pokes and jobs", async () => {
  await using database = await createTestDatabase();
  await using system = await startSystem({ databaseUrl: database.url });
  const steps: string[] = [];

  await tellStory({ gateways: system.urls, narrate: ({ text }) => steps.push(text) });

  expect(steps.at(-1)).toBe("TV and laptop go on undisturbed");
});
