/** Streams get from memory exactly what Postgres would have returned. */
import { KIND_NAMES, positionAt, type KindName } from "@continuo/merge";
import { load, TEXT_NAME } from "@continuo/merge/text";
import { randomBytes, randomUUID } from "node:crypto";
import { Client, Pool } from "pg";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { createLogger } from "@continuo/process";
import { startPokes, stateTopic } from "@continuo/signals";
import { startApp } from "../app.ts";
import { createEntries } from "../entry/entry.ts";
import { createEntryStore } from "../entry/entry.store.ts";
import type { Op } from "../entry/op.ts";
import { DEFAULT_QUOTA } from "../entry/quota.ts";
import { createNamespaces } from "../namespace/namespace.ts";
import { createNamespaceStore } from "../namespace/namespace.store.ts";
import { createReplica, startSystem, type Replica, type System } from "../system.fixture.ts";
import { createCursors, namespaceSet, type Cursors } from "./cursor.ts";
import { createLatest } from "./latest.ts";
import { createStream, type Stream, type StateBatch } from "./stream.ts";
import { createStreamStore } from "./stream.store.ts";

let system: System;
let pool: Pool;
beforeAll(async () => {
  system = await startSystem();
  await system.admin.query(
    `INSERT INTO user_state.namespaces (name, version, kinds, schema, persistence, ttl_seconds, created_at)
     VALUES ('everything', 1, $1, '{}', 'DURABLE', NULL, now()), ('passing', 1, '{"*": "REGISTER"}', '{}', 'TTL', 60, now())`,
    [Object.fromEntries(KIND_NAMES.map((kind) => [kind.toLowerCase(), kind]))],
  );
  pool = new Pool({ connectionString: system.database.url.userState, max: 2 });
  pool.on("error", () => undefined);
});
afterAll(async () => {
  await pool.end();
  await system[Symbol.asyncDispose]();
});

interface World {
  /** Pushes, and returns the new head. */
  push: (replica: Replica, ops: readonly (Pick<Op, "payload"> & Partial<Op>)[]) => Promise<number>;
  /** What is told from memory, or that it is not. */
  told: (...asked: Parameters<Stream["pull"]>) => Promise<StateBatch>;
  /** The same by Postgres. */
  read: (...asked: Parameters<Stream["pull"]>) => Promise<StateBatch>;
  cursors: Cursors;
}

const ASKED_POSTGRES = new Error("Postgres was asked");

function openWorld(): World {
  const latest = createLatest();
  const namespaces = createNamespaces({ store: createNamespaceStore(pool), now: () => 0 });
  const store = createStreamStore(pool);
  const cursors = createCursors(randomBytes(32));
  const common = { namespaces, cursors, newEpoch: randomUUID };
  const entries = createEntries({
    store: createEntryStore(pool),
    namespaces,
    quota: DEFAULT_QUOTA,
    newEpoch: randomUUID,
    changed: (userId, settlement, before) => latest.keep(userId, before, settlement),
  });
  const noStore = { ...store, read: () => Promise.reject(ASKED_POSTGRES) };
  const byMemory = createStream({ ...common, store: noStore, latest });
  const byPostgres = createStream({ ...common, store });
  const seqs = new Map<Replica, number>();
  return {
    cursors,
    told: (...asked) => byMemory.pull(...asked),
    read: (...asked) => byPostgres.pull(...asked),
    push: async (replica, ops) => {
      const { clientId, caller } = replica;
      const clientNow = Date.now();
      const filled = ops.map((op, index): Op => {
        const seq = (seqs.get(replica) ?? 0) + index + 1;
        const stamp = { ms: clientNow, counter: seq };
        return {
          seq,
          namespace: "everything",
          key: "unit",
          field: "register",
          stamp,
          seen: null,
          baseRev: 0,
          schemaVersion: 1,
          ...op,
        };
      });
      seqs.set(replica, (seqs.get(replica) ?? 0) + ops.length);
      const push = { clientId, epoch: await replica.epoch(), clientNow, baseRev: 0, ops: filled };
      const { outcomes, headRev } = await entries.push(caller.viewer, push);
      expect(outcomes.filter(({ status }) => status === "REJECTED")).toEqual([]);
      return headRev;
    },
  };
}

const ALL = { namespaces: undefined, clientId: undefined, first: 500 };

/** As it goes out: what a client could tell apart. */
function sent({ entries, serverNow: _serverNow, ...rest }: StateBatch): unknown {
  return JSON.parse(
    JSON.stringify({
      ...rest,
      entries: entries.map(({ namespace, key, field, kind, state, deleted, rev, schemaVersion, expiresAt }) => {
        return { namespace, key, field, kind, state, deleted, rev, schemaVersion, expiresAt };
      }),
    }),
  );
}

const document = load({ generation: 0, document: null, updates: [] });
const updates: string[] = [];
document.on("updateV2", (update) => updates.push(Buffer.from(update).toString("base64")));
for (const word of ["One", " and", " two"])
  document.getText(TEXT_NAME).insert(document.getText(TEXT_NAME).length, word);
const sealed = (ciphertext: string) => ({
  type: "SET",
  value: { keyVersion: 1, nonce: "AAAA", ciphertext, sealedAt: { ms: 1, counter: 0 } },
});
const report = { type: "REPORT", epoch: 0, position: 60, duration: 6_000, unit: "SECONDS", intent: "PLAY" };

it.each<[KindName, object[]]>([
  [
    "REGISTER",
    [{ type: "SET", value: { b: [1, { d: null, c: -0 }], a: "ä" } }, { type: "SET", value: 1e21 }, { type: "DELETE" }],
  ],
  [
    "MAX",
    [
      { type: "SET", value: 9 },
      { type: "SET", value: 9.5 },
    ],
  ],
  [
    "MIN",
    [
      { type: "SET", value: 9 },
      { type: "SET", value: -9 },
    ],
  ],
  [
    "COUNTER",
    [
      { type: "ADD", delta: 2 },
      { type: "ADD", delta: -3 },
    ],
  ],
  [
    "SET",
    [
      { type: "ADD", element: "b" },
      { type: "ADD", element: "a" },
      { type: "REMOVE", element: "b" },
    ],
  ],
  [
    "MAP",
    [
      { type: "SET", name: "b", value: 1 },
      { type: "SET", name: "a", value: { z: 1, y: 2 } },
      { type: "UNSET", name: "b" },
    ],
  ],
  [
    "LIST",
    [
      { type: "INSERT", id: "a", value: "A", position: positionAt([], 0) },
      { type: "REMOVE", id: "a" },
    ],
  ],
  ["PROGRESS", [report, { ...report, position: 90, intent: "SEEK" }]],
  [
    "DRAFT",
    [
      { type: "EDIT", generation: 0, name: "title", value: "A" },
      { type: "DISCARD", generation: 0 },
    ],
  ],
  ["OPAQUE", [sealed("AAAA"), sealed("BBBB")]],
  ["TEXT", updates.map((update) => ({ type: "UPDATE", generation: 0, update }))],
])("a change of a %s is told from memory as Postgres would tell it", async (kind, payloads) => {
  const { push, told, read } = openWorld();
  const phone = createReplica(system);
  const { viewer } = phone.caller;
  let { to } = await read(viewer, { ...ALL, since: undefined });
  for (const payload of payloads) {
    const headRev = await push(phone, [{ payload, field: kind.toLowerCase() }]);
    const byPostgres = await read(viewer, { ...ALL, since: to });
    expect(byPostgres.entries).toHaveLength(1);
    expect(sent(await told(viewer, { ...ALL, since: to }, headRev))).toEqual(sent(byPostgres));
    ({ to } = byPostgres);
  }
});

it("several changes of one push come in the order of their revisions, and a stream of some namespaces hears of those", async () => {
  const { push, told, read } = openWorld();
  const phone = createReplica(system);
  const { viewer } = phone.caller;
  for (const namespaces of [undefined, ["notes"]]) {
    const ask = { ...ALL, namespaces };
    const { to } = await read(viewer, { ...ask, since: undefined });
    const headRev = await push(phone, [
      { namespace: "notes", key: "twice", payload: { type: "SET", value: 1 } },
      { namespace: "preferences", payload: { type: "SET", value: 2 } },
      { namespace: "notes", key: "twice", payload: { type: "SET", value: 3 } },
      { namespace: "notes", key: "once", payload: { type: "SET", value: 4 } },
    ]);
    const byPostgres = await read(viewer, { ...ask, since: to });
    expect(byPostgres.entries.map(({ key }) => key)).toEqual(
      namespaces ? ["twice", "once"] : ["unit", "twice", "once"],
    );
    expect(sent(await told(viewer, { ...ask, since: to }, headRev))).toEqual(sent(byPostgres));
  }
});

const set = { payload: { type: "SET", value: 1 } } as const;

it.each<[string, (world: World, replica: Replica, since: string) => Promise<unknown>]>([
  ["asks for all there is", ({ told }, { caller }, since) => told(caller.viewer, { ...ALL, since })],
  ["heard of more than was changed here", ({ told }, { caller }, since) => told(caller.viewer, { ...ALL, since }, 3)],
  [
    "is a replica, whose progress is noted",
    ({ told }, { caller, clientId }, since) => told(caller.viewer, { ...ALL, since, clientId }, 2),
  ],
  ["takes fewer at once", ({ told }, { caller }, since) => told(caller.viewer, { ...ALL, since, first: 1 }, 2)],
  [
    "is somebody else's",
    async ({ told, read }) => {
      const { viewer } = createReplica(system).caller;
      const { to } = await read(viewer, { ...ALL, since: undefined });
      return told(viewer, { ...ALL, since: to }, 0);
    },
  ],
  [
    "is two pushes behind",
    async ({ told, push }, replica, since) => {
      const headRev = await push(replica, [set]);
      return told(replica.caller.viewer, { ...ALL, since }, headRev);
    },
  ],
  [
    "would hear of what expires",
    async ({ told, push, read }, replica) => {
      const { to } = await read(replica.caller.viewer, { ...ALL, since: undefined });
      const headRev = await push(replica, [{ ...set, namespace: "passing" }]);
      return told(replica.caller.viewer, { ...ALL, since: to }, headRev);
    },
  ],
  [
    "is of another epoch",
    ({ told, cursors }, { caller }) => {
      const since = cursors.encode(caller.viewer.userId, {
        epoch: randomUUID(),
        rev: 0,
        floor: 0,
        namespaces: namespaceSet(undefined),
      });
      return told(caller.viewer, { ...ALL, since }, 2);
    },
  ],
  [
    "would hear more than a page holds",
    async ({ told, push, read }, replica) => {
      const { viewer } = replica.caller;
      const maps = ["a", "b", "c"].map((key) => ({ key, field: "map" }));
      for (const map of maps)
        await push(
          replica,
          ["a", "b", "c", "d"].map((name) => ({ ...map, payload: { type: "SET", name, value: "x".repeat(50_000) } })),
        );
      const { to } = await read(viewer, { ...ALL, since: undefined }).then(({ to: since }) =>
        read(viewer, { ...ALL, since }),
      );
      const headRev = await push(
        replica,
        maps.map((map) => ({ ...map, payload: { type: "SET", name: "e", value: 1 } })),
      );
      return told(viewer, { ...ALL, since: to }, headRev);
    },
  ],
  [
    "comes later",
    ({ told }, { caller }, since) =>
      // Until it is refused.
      vi.waitFor(async () => {
        const answer = told(caller.viewer, { ...ALL, since }, 2);
        expect(
          await answer.then(
            () => "told",
            () => "refused",
          ),
        ).toBe("refused");
        return answer;
      }),
  ],
])("Postgres is asked for a stream that %s", async (_which, ask) => {
  const world = openWorld();
  const replica = createReplica(system);
  const { to } = await world.read(replica.caller.viewer, { ...ALL, since: undefined });
  await world.push(replica, [set, { ...set, key: "another" }]);
  await expect(ask(world, replica, to)).rejects.toBe(ASKED_POSTGRES);
});

it("a gateway in the same process that says what it heard is answered without a read, and one that does not with one", async () => {
  const logger = createLogger({ name: "test", level: "silent" });
  await using pokes = await startPokes({ databaseUrl: system.env.DATABASE_URL, logger });
  await using app = await startApp(system.env, { pokes });
  const { caller, ...replica } = createReplica(system);
  const pull = (since: string, heard?: number) =>
    app.local.graphql(
      {
        query: "query ($since: String) { pullState(since: $since) { headRev entries { value } } }",
        variables: { since },
      },
      { caller, requestId: "1", heard },
    );
  const { to: since } = await replica.pull();
  const queries = vi.spyOn(Client.prototype, "query");
  const reads = (): number =>
    queries.mock.calls.filter((call) => JSON.stringify(call).includes("stream_read_pages")).length;
  const told = Promise.withResolvers<unknown>();
  await using _listening = await pokes.subscribe(stateTopic(caller.viewer.userId), {
    onPoke: (heard) => told.resolve(pull(since, heard)),
    onGap: () => undefined,
  });
  const stamp = { ms: Date.now(), counter: 1 };
  const op = { seq: 1, namespace: "notes", key: "k", field: "f", payload: set.payload, stamp, baseRev: 0 };
  const input = {
    clientId: replica.clientId,
    epoch: await replica.epoch(),
    clientNow: Date.now(),
    baseRev: 0,
    ops: [op],
  };
  const before = reads();
  await app.local.graphql(
    { query: "mutation ($input: PushStateInput!) { pushState(input: $input) { lastSeq } }", variables: { input } },
    { caller, requestId: "1" },
  );
  const answer = { data: { pullState: { headRev: 1, entries: [{ value: 1 }] } } };
  expect(await told.promise).toEqual(answer);
  expect(reads()).toBe(before);
  expect(await pull(since)).toEqual(answer);
  expect(reads()).toBe(before + 1);
  queries.mockRestore();
});
