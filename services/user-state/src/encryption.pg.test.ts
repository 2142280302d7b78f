/** End-to-end encryption: sealed by one device, stored and merged here, opened by another. */
import { createKey, createRecoveryCode, openKeyRing, rootKeyOf, type KeyRing, type Sealed } from "@continuo/encryption";
import { defineNamespace, opaque, register, set } from "@continuo/namespace";
import { randomUUID } from "node:crypto";
import { Pool } from "pg";
import { afterAll, beforeAll, expect, it } from "vitest";
import { z } from "zod";
import { createClient, empty } from "./minimal-client.fixture.ts";
import { createNamespaceStore } from "./namespace/namespace.store.ts";
import { publish } from "./namespace/publication.ts";
import { createReplica, startSystem, type System } from "./system.fixture.ts";

const JOURNAL = { entry: opaque(), keys: set(), title: register(z.string()) };

let system: System;
beforeAll(async () => {
  system = await startSystem();
  await using stack = new AsyncDisposableStack();
  const pool = stack.adopt(new Pool({ connectionString: system.env.DATABASE_URL }), (opened) => opened.end());
  const journal = defineNamespace({ name: "journal", version: 1, fields: JOURNAL });
  await publish(createNamespaceStore(pool), journal, { dryRun: false });
});
afterAll(() => system[Symbol.asyncDispose]());

interface Device {
  /** Sends what waits and gets what is new. */
  sync(): Promise<void>;
  addKey(): Promise<void>;
  ring(): Promise<KeyRing>;
  /** As if that many milliseconds ago. */
  write(day: string, text: string, agoMs?: number): Promise<void>;
  title(day: string, text: string): void;
  /** As it stands, and what lost against it. */
  sealed(day: string): { standing: Sealed; lost: Sealed[] };
  read(day: string): Promise<unknown>;
}

async function createDevice(userId: string, recoveryCode: string): Promise<Device> {
  const { caller } = createReplica(system, { userId });
  const root = await rootKeyOf(recoveryCode);
  let writtenAgoMs = 0;
  const now = (): number => Date.now() - writtenAgoMs;
  const client = createClient(
    empty(randomUUID()),
    () => undefined,
    async (query, variables) => {
      const { data, errors } = await system.ask<never>(caller, query, variables);
      if (data === undefined) throw new Error(JSON.stringify(errors));
      return data;
    },
    now,
  );
  const entry = (key: string, field: string) => client.kept().entries[JSON.stringify(["journal", key, field])];
  function options() {
    const elements = z.array(z.string()).parse(entry("ring", "keys")?.value ?? []);
    return { root, userId, namespace: "journal", elements };
  }
  const place = (key: string) => ({ key, field: "entry" });
  const device: Device = {
    sync: () => client.sync(() => Promise.resolve()),
    async addKey() {
      client.change("journal", "ring", "keys", { type: "ADD", element: await createKey(options()) });
      await device.sync();
    },
    ring: () => openKeyRing(options()),
    async write(day, text, agoMs = 0) {
      const ring = await device.ring();
      writtenAgoMs = agoMs;
      const value = await ring.seal(place(day), { text }, { ms: now(), counter: 0 });
      client.change("journal", day, "entry", { type: "SET", value });
      writtenAgoMs = 0;
    },
    title: (day, value) => client.change("journal", day, "title", { type: "SET", value }),
    sealed(day) {
      const { standing, history } = State.parse(entry(day, "entry")?.state);
      return { standing: standing.value, lost: history.map(({ value }) => value) };
    },
    read: async (day) => (await device.ring()).open(place(day), device.sealed(day).standing),
  };
  return device;
}

const Instant = z.object({ ms: z.number(), counter: z.number() });
const Write = z.object({
  value: z.object({ keyVersion: z.number(), nonce: z.string(), ciphertext: z.string(), sealedAt: Instant }),
});
const State = z.object({ standing: Write, history: z.array(Write) });

/** A person whose phone has turned encryption on, and their laptop, which was given the recovery code. */
async function household(): Promise<{ userId: string; phone: Device; laptop: Device; another: () => Promise<Device> }> {
  const [userId, code] = [randomUUID(), createRecoveryCode()];
  const another = (): Promise<Device> => createDevice(userId, code);
  const [phone, laptop] = await Promise.all([another(), another()]);
  await phone.sync();
  await phone.addKey();
  await laptop.sync();
  return { userId, phone, laptop, another };
}

it("what one device seals the others open, and nobody finds it here", async () => {
  const { userId, phone, laptop } = await household();
  await phone.write("monday", "canary-sealed");
  phone.title("monday", "canary-plain");
  await phone.sync();
  await laptop.sync();
  expect(await laptop.read("monday")).toEqual({ text: "canary-sealed" });
  const { rows } = await system.admin.query<{ state: string }>(
    "SELECT state::text FROM user_state.state_entries WHERE user_id = $1",
    [userId],
  );
  const stored = rows
    .flatMap(({ state }) => [state, ...(state.match(/[\w+/-]{16,}={0,2}/g) ?? []).map(bytesOf)])
    .join();
  expect(stored.match(/canary-\w+/g)).toEqual(["canary-plain"]);
});

it("two that write without each other are merged unopened: the later stands, the other can be read still", async () => {
  const { phone, laptop } = await household();
  await phone.write("monday", "on the phone", 60_000);
  await laptop.write("monday", "on the laptop");
  // The later one arrives first.
  await laptop.sync();
  await phone.sync();
  await laptop.sync();
  expect(phone.sealed("monday")).toEqual(laptop.sealed("monday"));
  const { standing, lost } = phone.sealed("monday");
  const ring = await phone.ring();
  const texts = await Promise.all([standing, ...lost].map((one) => ring.open({ key: "monday", field: "entry" }, one)));
  expect(texts).toEqual([{ text: "on the laptop" }, { text: "on the phone" }]);
});

it("a unit that was put in the place of another here is found out", async () => {
  const { userId, phone, another } = await household();
  await phone.write("monday", "I will");
  await phone.write("tuesday", "I will not");
  await phone.sync();
  await system.admin.query(
    `UPDATE user_state.state_entries AS entry SET state = other.state
       FROM user_state.state_entries AS other
      WHERE (entry.user_id, entry.key, entry.field) = ($1, 'monday', 'entry')
        AND (other.user_id, other.key, other.field) = ($1, 'tuesday', 'entry')`,
    [userId],
  );
  const laptop = await another();
  await laptop.sync();
  expect(await laptop.read("tuesday")).toEqual({ text: "I will not" });
  await expect(laptop.read("monday")).rejects.toMatchObject({ code: "VALUE_FORGED" });
});

it("a new key seals from then on, the former opens what it sealed, and both are made known like any change", async () => {
  const { phone, laptop } = await household();
  await phone.write("monday", "before");
  await phone.sync();
  // In the same moment, unknown to each other.
  await Promise.all([phone.addKey(), laptop.addKey()]);
  await laptop.sync();
  await laptop.write("tuesday", "after");
  await laptop.sync();
  await phone.sync();
  expect([phone.sealed("monday"), phone.sealed("tuesday")].map(({ standing }) => standing.keyVersion)).toEqual([1, 2]);
  expect([await phone.read("monday"), await phone.read("tuesday")]).toEqual([{ text: "before" }, { text: "after" }]);
});

it("a device with another recovery code can neither read nor begin anew", async () => {
  const { userId, phone } = await household();
  await phone.write("monday", "mine");
  await phone.sync();
  const stranger = await createDevice(userId, createRecoveryCode());
  await stranger.sync();
  const attempts = [() => stranger.read("monday"), () => stranger.write("monday", "yours"), () => stranger.addKey()];
  for (const attempt of attempts) await expect(attempt()).rejects.toMatchObject({ code: "ROOT_KEY_WRONG" });
  await stranger.sync();
  await phone.sync();
  expect(await phone.read("monday")).toEqual({ text: "mine" });
});

function bytesOf(text: string): string {
  return Buffer.from(text, "base64").toString("latin1");
}
