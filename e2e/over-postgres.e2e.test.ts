/**
 * One of each process, with Postgres carrying pokes and jobs: from start to stop, with the story and the bad cases in between.
 */
import { createTestDatabase } from "@continuo/testkit";
import { afterAll, beforeAll, expect, test } from "vitest";
import { describeBadInput } from "./bad-input.suite.ts";
import { describeCanaries } from "./canaries.suite.ts";
import { createDevice, signUp } from "./device.ts";
import { ask } from "./graph-client.ts";
import { DEVICE_CHANGED, SIGN_IN, STATE_CHANGES } from "./operations.ts";
import type { RunningProcess } from "./process.ts";
import { tellStory } from "./story.ts";
import { startSystem, type System } from "./system.ts";
import { describeUsers } from "./users.suite.ts";

const opened = new AsyncDisposableStack();
let system: System;
let adminUrl: string;
beforeAll(async () => {
  const database = opened.use(await createTestDatabase());
  ({ adminUrl } = database);
  system = opened.use(await startSystem({ databaseUrl: database.url, logLevel: "trace" }));
});
afterAll(() => opened.disposeAsync());

test("the story holds over real processes, with Postgres carrying pokes and jobs", async () => {
  const steps: string[] = [];

  await tellStory({ gateways: system.urls, narrate: ({ text }) => steps.push(text) });

  expect(steps.at(-1)).toMatch(/^and erase it/);
});

describeUsers(() => ({ system, adminUrl }));
describeBadInput(() => system);
describeCanaries("Postgres", () => ({ system, adminUrl, redisUrl: undefined }));

// Last, because it stops everything.
test("told to stop, every process finishes what is under way, says goodbye to its sockets and exits with 0", async () => {
  const [gateway] = system.gateways;
  const person = await signUp(gateway.url);
  const device = createDevice({ gateway: gateway.url, name: "Laptop", platform: "LAPTOP" });
  await device.signIn(person);
  const live = device.goLive();
  await live.watch(DEVICE_CHANGED).until("the first batch", () => true);
  await live.watch(STATE_CHANGES).until("the first batch", () => true);

  // Signing in takes long enough to be under way, because of the password hash.
  const underWay = Array.from({ length: 5 }, () => ask(gateway.url, SIGN_IN, { input: person }));
  const identity = only(system.subgraphs.identity);
  const arrived = identity.log().length;
  await expect.poll(() => identity.log().length, { timeout: 15_000 }).toBeGreaterThan(arrived);
  const exit = gateway.stop("SIGTERM");

  expect(await live.closed).toMatchObject({ code: 1001 });
  const answers = await Promise.all(underWay);
  expect(answers.every(({ signInWithPassword }) => signInWithPassword.grant.length > 0)).toBe(true);
  expect(await exit).toEqual({ code: 0, signal: null });
  const exits = await Promise.all(
    allBehind(system).map(async (process) => [process.name, (await process.stop("SIGTERM")).code]),
  );
  expect(Object.fromEntries(exits)).toEqual({
    "identity-0": 0,
    "session-0": 0,
    "user-state-0": 0,
    "session-worker": 0,
    "user-state-worker": 0,
  });
});

function allBehind({ subgraphs, workers }: System): RunningProcess[] {
  return [...Object.values(workers), ...Object.values(subgraphs).flat()];
}

function only<Item>(items: readonly Item[]): Item {
  const [item] = items;
  if (item === undefined) throw new Error("there is none");
  return item;
}
