/** A push settled from the cache gets exactly what a read would have found. */
import { randomUUID } from "node:crypto";
import { KIND_NAMES, positionAt, type KindName } from "@continuo/merge";
import { load, TEXT_NAME } from "@continuo/merge/text";
import * as fc from "fast-check";
import { Pool } from "pg";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { createErasureStore } from "../erasure/erasure.store.ts";
import { createNamespaces } from "../namespace/namespace.ts";
import { createNamespaceStore } from "../namespace/namespace.store.ts";
import { createReplica, startSystem, type System } from "../system.fixture.ts";
import { createEntryStore } from "./entry.store.ts";
import { validateOp, type Op } from "./op.ts";
import type { Push } from "./push.ts";
import { DEFAULT_QUOTA } from "./quota.ts";
import { settle } from "./settle.ts";
import { createStandingMemory, type StandingMemory } from "./standing-memory.store.ts";
import { hasExpired, readStandings, type Standing } from "./standing.store.ts";

let system: System;
let pool: Pool;
beforeAll(async () => {
  system = await startSystem();
  const kinds = Object.fromEntries(KIND_NAMES.map((kind) => [kind, kind]));
  await system.admin.query(
    `INSERT INTO user_state.namespaces (name, version, kinds, schema, persistence, ttl_seconds, created_at)
     VALUES ('kept', 1, $1, '{}', 'DURABLE', NULL, now()), ('brief', 1, $1, '{}', 'TTL', 600, now())`,
    [kinds],
  );
  pool = new Pool({ connectionString: system.database.url.userState, max: 4 });
});
afterAll(async () => {
  await pool.end();
  await system[Symbol.asyncDispose]();
});

interface Change {
  readonly namespace: string;
  readonly key: string;
  readonly field: KindName;
  readonly payload: Op["payload"];
}

interface Person {
  readonly userId: string;
  readonly epoch: string;
}

async function createPerson(): Promise<Person> {
  const replica = createReplica(system);
  return { userId: replica.caller.viewer.userId, epoch: await replica.epoch() };
}

/** A replica's queue. */
function createQueue({ epoch }: Person): (changes: readonly Change[]) => Promise<{ deviceId: string; push: Push }> {
  const [clientId, deviceId] = [randomUUID(), randomUUID()];
  const namespaces = createNamespaces({ store: createNamespaceStore(pool), now: () => 0 });
  let seq = 0;
  return async (changes) => {
    const clientNow = Date.now();
    const known = await namespaces.find(changes.map(({ namespace }) => namespace));
    const ops = changes.map((change) => {
      seq += 1;
      const stamp = { ms: clientNow, counter: seq % 65_536 };
      return validateOp({ ...change, seq, stamp, seen: null, baseRev: 0, schemaVersion: 1 }, known);
    });
    return { deviceId, push: { clientId, epoch, clientNow, baseRev: 0, ops } };
  };
}

/** A process that settles pushes, with what it recalled for the last one and how many statements that took. */
function openProcess() {
  const memory = createStandingMemory(() => performance.now());
  const query = vi.spyOn(pool, "query");
  const recalled = new Map<Push, Standing>();
  const watched: StandingMemory = {
    ...memory,
    recall(asked) {
      const standing = memory.recall(asked);
      if (standing) recalled.set(asked.push, standing);
      return standing;
    },
  };
  const store = createEntryStore(pool, undefined, watched);
  return async (userId: string, { deviceId, push }: { deviceId: string; push: Push }) => {
    query.mockClear();
    recalled.delete(push);
    const settlement = await store.settle({ userId, deviceId, newEpoch: randomUUID, push }, (before) =>
      settle(push, deviceId, before, DEFAULT_QUOTA),
    );
    return { settlement, recalled: recalled.get(push), statements: query.mock.calls.length };
  };
}

const setting = (value: string, key = "theme"): Change => ({
  namespace: "kept",
  key,
  field: "REGISTER",
  payload: { type: "SET", value },
});

describe("the next push of somebody whose state one process alone changes", () => {
  it("is one statement, from the third on", async () => {
    const person = await createPerson();
    const [next, settles] = [createQueue(person), openProcess()];
    const statements = [];
    for (const value of "abcd")
      statements.push((await settles(person.userId, await next([setting(value)]))).statements);
    expect(statements).toEqual([2, 2, 1, 1]);
    const { settlement } = await settles(person.userId, await next([setting("e")]));
    expect(settlement).toMatchObject({ rev: 5, lastSeq: 5, outcomes: [{ status: "APPLIED", rev: 5 }] });
    expect(settlement.usage.entries).toBe(1);
  });

  it("is read when it meets another unit, comes from another replica, or repeats what was settled", async () => {
    const person = await createPerson();
    const [phone, laptop, settles] = [createQueue(person), createQueue(person), openProcess()];
    for (const value of "abc") await settles(person.userId, await phone([setting(value)]));
    const again = await phone([setting("d")]);
    await settles(person.userId, again);
    const repeated = await settles(person.userId, again);
    expect(repeated.recalled).toBeUndefined();
    expect(repeated.settlement.outcomes).toMatchObject([{ status: "DUPLICATE" }]);
    expect((await settles(person.userId, await phone([setting("e", "other")]))).recalled).toBeUndefined();
    expect((await settles(person.userId, await laptop([setting("f")]))).recalled).toBeUndefined();
    // From then on they are known too.
    expect((await settles(person.userId, await laptop([setting("g"), setting("h", "other")]))).statements).toBe(1);
  });

  it("is settled upon what another process wrote in between, and then read until they are alone again", async () => {
    const person = await createPerson();
    const [phone, laptop] = [createQueue(person), createQueue(person)];
    const [one, other] = [openProcess(), openProcess()];
    const add = (): Change => ({ namespace: "kept", key: "k", field: "COUNTER", payload: { type: "ADD", delta: 1 } });
    for (let count = 0; count < 3; count += 1) await one(person.userId, await phone([add()]));
    expect((await other(person.userId, await laptop([add()]))).recalled).toBeUndefined();
    const late = await one(person.userId, await phone([add()]));
    expect(late.settlement).toMatchObject({ rev: 5, changes: [{ rev: 5, state: { value: 5 } }] });
    const [first, second] = [
      await one(person.userId, await phone([add()])),
      await one(person.userId, await phone([add()])),
    ];
    expect([first.statements, second.statements]).toEqual([2, 1]);
    expect(second.settlement.changes).toMatchObject([{ state: { value: 7 } }]);
  });

  it("is refused by an erasure that it had not heard of", async () => {
    const person = await createPerson();
    const [next, settles] = [createQueue(person), openProcess()];
    for (const value of "abc") await settles(person.userId, await next([setting(value)]));
    const { userId } = person;
    await createErasureStore(pool).erase({ userId, namespaces: undefined, newEpoch: randomUUID(), dryRun: false });
    await expect(settles(userId, await next([setting("d")]))).rejects.toThrow("This epoch is over");
  });

  it("is refused whole where a row is gone that nobody may take alone, and then settled upon what stands", async () => {
    const person = await createPerson();
    const { userId } = person;
    const [next, settles] = [createQueue(person), openProcess()];
    for (const value of "ab") await settles(userId, await next([setting(value), setting(value, "other")]));
    await system.admin.query("DELETE FROM user_state.state_entries WHERE user_id = $1 AND key = 'other'", [userId]);
    const push = await next([setting("c"), setting("c", "other")]);
    await expect(settles(userId, push)).rejects.toThrow("division by zero");
    const { settlement, recalled } = await settles(userId, push);
    expect(recalled).toBeUndefined();
    expect(settlement).toMatchObject({ rev: 6, outcomes: [{ status: "APPLIED" }, { status: "APPLIED" }] });
  });

  it("is not refused by what is known no more: another process took the change before, or everything was erased", async () => {
    const person = await createPerson();
    const { userId } = person;
    const [next, one, other] = [createQueue(person), openProcess(), openProcess()];
    for (const value of "abc") await one(userId, await next([setting(value)]));
    await other(userId, await next([setting("d")]));
    const { settlement, recalled } = await one(userId, await next([setting("e")]));
    expect(recalled).toBeDefined();
    expect(settlement).toMatchObject({ stop: null, lastSeq: 5 });

    for (const value of "fg") await one(userId, await next([setting(value)]));
    const epoch = randomUUID();
    await createErasureStore(pool).erase({ userId, namespaces: ["brief"], newEpoch: epoch, dryRun: false });
    const { deviceId, push } = await next([setting("h")]);
    const heard = await one(userId, { deviceId, push: { ...push, epoch } });
    expect(heard.recalled).toBeDefined();
    expect(heard.settlement).toMatchObject({ stop: null, lastSeq: 8 });
  });

  it("is read while another of theirs is under way", async () => {
    const person = await createPerson();
    const [phone, laptop, settles] = [createQueue(person), createQueue(person), openProcess()];
    for (const value of "ab")
      for (const next of [phone, laptop]) await settles(person.userId, await next([setting(value)]));
    const pushes = [await phone([setting("c")]), await laptop([setting("d")])];
    const settled = await Promise.all(pushes.map((push) => settles(person.userId, push)));
    expect(settled.map(({ settlement }) => settlement.rev).toSorted((a, b) => a - b)).toEqual([5, 6]);
    expect(settled.map(({ recalled }) => recalled !== undefined)).toEqual([true, false]);
  });

  it("goes by the database's clock, carried on, and by nothing for longer than a minute", async () => {
    let now = 1;
    const memory = createStandingMemory(() => now);
    const store = createEntryStore(pool, undefined, memory);
    const recallAfter = async (ms: number): Promise<Standing | undefined> => {
      const person = await createPerson();
      const { userId } = person;
      const next = createQueue(person);
      const brief = () => next([{ ...setting("a"), namespace: "brief" }]);
      // The soonest expiry comes from what the push wrote, not from a read.
      for (const { deviceId, push } of [await next([setting("a")]), await brief()]) {
        await store.settle({ userId, deviceId, push, newEpoch: randomUUID }, (before) =>
          settle(push, deviceId, before, DEFAULT_QUOTA),
        );
      }
      now += ms;
      return memory.recall({ userId, ...(await brief()) });
    };
    const startedAt = Date.now();
    const standing = await recallAfter(59_000);
    if (standing === undefined) throw new Error("it is known for a minute");
    const { before, version, soonestExpiry } = standing;
    expect(before.serverNow).toBeGreaterThanOrEqual(startedAt + 59_000);
    expect(hasExpired(standing)).toBe(false);
    expect(hasExpired({ before: { ...before, serverNow: soonestExpiry ?? 0 }, version, soonestExpiry })).toBe(true);
    expect(await recallAfter(61_000)).toBeUndefined();
  });
});

describe("what is recalled", () => {
  const position = positionAt([], 0);
  /** Units of each kind that meet each other. */
  const payloads: Record<KindName, (choice: number) => Op["payload"]> = {
    REGISTER: (choice) =>
      choice % 3 === 0 ? { type: "DELETE" } : { type: "SET", value: { b: choice, a: [choice / 7] } },
    MAX: (choice) => ({ type: "SET", value: choice }),
    MIN: (choice) => ({ type: "SET", value: choice }),
    COUNTER: (choice) => ({ type: "ADD", delta: choice - 4 }),
    SET: (choice) => ({ type: choice % 3 === 0 ? "REMOVE" : "ADD", element: choice % 2 }),
    MAP: (choice) => (choice % 3 === 0 ? { type: "UNSET", name: "a" } : { type: "SET", name: "a", value: choice }),
    LIST: (choice) =>
      choice % 3 === 0
        ? { type: "REMOVE", id: "a" }
        : { type: "INSERT", id: choice % 2 ? "a" : "b", value: 1, position },
    PROGRESS: (choice) => ({
      type: "REPORT",
      epoch: 0,
      position: choice,
      duration: 100,
      unit: "SECONDS",
      intent: choice % 2 ? "PLAY" : "PAUSE",
    }),
    DRAFT: (choice) =>
      choice % 4 === 0
        ? { type: "DISCARD", generation: 0 }
        : { type: "EDIT", generation: 0, name: "body", value: choice },
    TEXT: (choice) => {
      if (choice % 5 === 0) return { type: "RESET", generation: 0 };
      const document = load({ generation: 0, document: null, updates: [] });
      let update = "";
      document.on("updateV2", (bytes) => {
        update = Buffer.from(bytes).toString("base64");
      });
      document.getText(TEXT_NAME).insert(0, `${choice}`);
      return { type: "UPDATE", generation: 0, update };
    },
    OPAQUE: (choice) => ({
      type: "SET",
      value: { keyVersion: 1, nonce: "AAAA", ciphertext: btoa(`${choice}`), sealedAt: { ms: 1, counter: 0 } },
    }),
  };
  const change = fc
    .tuple(fc.constantFrom(...KIND_NAMES), fc.constantFrom("kept", "kept", "brief"), fc.nat(9))
    .map(([field, namespace, choice]): Change => ({ namespace, key: "unit", field, payload: payloads[field](choice) }));
  const step = fc.record({
    changes: fc.array(change, { minLength: 1, maxLength: 3 }),
    replica: fc.nat(1),
    /** Seldom the other. */
    process: fc.constantFrom(0, 0, 0, 0, 0, 1),
  });

  it("is what a read finds, whatever was pushed by whomever", async () => {
    let times = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 30 }), async (steps) => {
        const person = await createPerson();
        const { userId } = person;
        const [queues, processes] = [
          [createQueue(person), createQueue(person)],
          [openProcess(), openProcess()],
        ];
        for (const { changes, replica, process } of steps) {
          const [next, settles] = [queues[replica], processes[process]];
          if (!next || !settles) throw new RangeError("there are two of each");
          const request = await next(changes);
          const [read] = await readStandings(pool, [{ userId, ...request }]);
          const { recalled } = await settles(userId, request);
          if (read === undefined || recalled?.version !== read.version) continue;
          times += 1;
          const { serverNow, ...before } = recalled.before;
          expect(before).toEqual({ ...read.before, serverNow: undefined });
          expect(Math.abs(serverNow - read.before.serverNow)).toBeLessThan(60_000);
          // A sooner expiry would only cost a read.
          expect(recalled.soonestExpiry ?? Infinity).toBeLessThanOrEqual(read.soonestExpiry ?? Infinity);
        }
      }),
      { numRuns: 30 },
    );
    expect(times).toBeGreaterThan(30);
  }, 120_000);
});
