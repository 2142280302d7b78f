/** A client written from SYNC.md alone, against the service, over a network that loses requests and replies. */
import { counter, defineNamespace, register } from "@continuo/namespace";
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Pool } from "pg";
import { afterAll, beforeAll, expect, it } from "vitest";
import { z } from "zod";
import { createClient, empty, Refused, type Kept, type Send } from "./minimal-client.fixture.ts";
import { createNamespaceStore } from "./namespace/namespace.store.ts";
import { publish } from "./namespace/publication.ts";
import { createReplica, startSystem, type System } from "./system.fixture.ts";

let system: System;
beforeAll(async () => {
  system = await startSystem();
  await using stack = new AsyncDisposableStack();
  const pool = stack.adopt(new Pool({ connectionString: system.env.DATABASE_URL }), (opened) => opened.end());
  const game = defineNamespace({ name: "game", version: 1, fields: { points: counter(), name: register(z.json()) } });
  await publish(createNamespaceStore(pool), game, { dryRun: false });
});
afterAll(() => system[Symbol.asyncDispose]());

/** A seeded generator: the same numbers each time. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

interface Device {
  readonly lost: { requests: number; replies: number };
  readonly client: () => ReturnType<typeof createClient>;
  /** The client process stops at any point and restarts from what it stored. */
  restart(): void;
}

function createDevice(userId: string, random: () => number, skewMs: number): Device {
  const { caller } = createReplica(system, { userId });
  const lost = { requests: 0, replies: 0 };
  let stored = JSON.stringify(empty(randomUUID()));

  const send: Send = async (query, variables) => {
    if (random() < 0.2) {
      lost.requests += 1;
      throw new Error("the request was lost");
    }
    const { data, errors } = await system.ask<never>(caller, query, variables);
    if (random() < 0.3) {
      lost.replies += 1;
      throw new Error("the reply was lost");
    }
    if (errors?.[0]) throw new Refused(errors[0].extensions.reason);
    if (data === undefined) throw new Error("no data");
    return data;
  };
  const open = () =>
    createClient(
      JSON.parse(stored),
      (kept: Kept) => {
        stored = JSON.stringify(kept);
      },
      send,
      () => Date.now() + skewMs,
    );
  let client = open();
  return {
    lost,
    client: () => client,
    restart() {
      client = open();
    },
  };
}

/** Skips the back-off delays. */
const wait = (): Promise<unknown> => Promise.resolve();

it("is short, and knows nothing of our own client", () => {
  const text = readFileSync(join(import.meta.dirname, "minimal-client.fixture.ts"), "utf8");
  expect(text.split("\n").length).toBeLessThanOrEqual(150);
  expect(text.match(/^import .*/gm)).toEqual([
    'import type { OpMessage, PushResponse, StateBatch } from "@continuo/merge/protocol";',
  ]);
});

it("converges with others through lost requests, lost replies and restarts: each change once, none lost", async () => {
  const random = seeded(7);
  const userId = randomUUID();
  const devices = [0, 2 * 86_400_000, -3_600_000].map((skewMs) => createDevice(userId, random, skewMs));
  let points = 0;
  for (let round = 0; round < 12; round += 1)
    for (const [index, device] of devices.entries()) {
      const { change, sync } = device.client();
      for (let made = 0; made <= random() * 3; made += 1) {
        const delta = 1 + Math.floor(random() * 9);
        points += delta;
        change("game", `of ${index}`, "name", { type: "SET", value: `${round}.${made}` });
        change("game", "shared", "name", { type: "SET", value: `${index} ${round}.${made}` });
        change("game", "g", "points", { type: "ADD", delta });
      }
      if (random() < 0.2) change("game", "g", "nowhere", { type: "SET", value: 1 });
      // Now and then requests in flight are cut off.
      if (random() < 0.5)
        await device
          .client()
          .push()
          .catch(() => undefined);
      if (random() < 0.3) device.restart();
      else if (random() < 0.8) await sync(wait);
    }
  for (const { client } of [...devices, ...devices]) await client().sync(wait);

  const [first, ...others] = devices.map(({ client }) => client().kept());
  const fresh = createDevice(userId, () => 1, 0);
  await fresh.client().sync(wait);
  for (const kept of [...others, fresh.client().kept()]) expect(kept.entries).toEqual(first?.entries);
  expect(first?.entries[JSON.stringify(["game", "g", "points"])]?.value).toBe(points);
  for (const { client, lost } of devices) {
    const { queue, rejected, lastSeq, revealedSeq } = client().kept();
    expect(queue).toEqual([]);
    expect(revealedSeq).toBe(lastSeq);
    expect(new Set(rejected.map(({ reason }) => reason))).toEqual(new Set(rejected.length ? ["FIELD_UNKNOWN"] : []));
    expect(Math.min(lost.requests, lost.replies)).toBeGreaterThan(2);
  }
  // The last to write the shared name, in true time, is the last device.
  expect(first?.entries[JSON.stringify(["game", "shared", "name"])]?.value).toMatch(/^2 11\./);
});

it("goes on under a new id when it was forgotten, and takes up a new epoch", async () => {
  const userId = randomUUID();
  const device = createDevice(userId, () => 1, 0);
  const { change, sync, kept } = device.client();
  change("game", "a", "name", { type: "SET", value: 1 });
  await sync(wait);
  await system.admin.query("DELETE FROM user_state.sync_clients WHERE user_id = $1", [userId]);
  const { clientId } = kept();
  change("game", "b", "name", { type: "SET", value: 2 });
  await sync(wait);
  expect(kept().clientId).not.toBe(clientId);

  await system.admin.query("UPDATE user_state.user_heads SET epoch = gen_random_uuid() WHERE user_id = $1", [userId]);
  change("game", "c", "name", { type: "SET", value: 3 });
  await sync(wait);
  expect(Object.values(kept().entries).map(({ value }) => value)).toEqual([1, 2, 3]);
  expect(kept().queue).toEqual([]);
});
