/**
 * Data that must leave no trace leaves none: canaries in keys, fields and values of RELAY and NONE namespaces are
 * searched for in everything the system stores or logs. The same search finds the canaries of a stored namespace, so it
 * would find these.
 */
import { connectRedis } from "@continuo/signals/redis";
import { randomBytes, randomUUID } from "node:crypto";
import { createReadStream, existsSync } from "node:fs";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client } from "pg";
import { expect, test } from "vitest";
import { z } from "zod";
import { createDevice, signUp, type Device } from "./device.ts";
import { eventually } from "./graph-client.ts";
import type { Operation } from "./operations.ts";
import { startProcess } from "./process.ts";
import type { System } from "./system.ts";

const RELAYED: Operation<{ relayedChanges: { key: string; payload: unknown; device: { name: string } }[] }> = {
  text: "subscription { relayedChanges { key payload device { name } } }",
  data: z.object({
    relayedChanges: z.array(
      z.object({ key: z.string(), payload: z.unknown(), device: z.object({ name: z.string() }) }),
    ),
  }),
};
const PULL_EPOCH: Operation<{ pullState: { epoch: string } }> = {
  text: "{ pullState { epoch } }",
  data: z.object({ pullState: z.object({ epoch: z.string() }) }),
};
const PUSH = `mutation ($input: PushStateInput!) {
  pushState(input: $input) { outcomes { seq status reason message current } } }`;
const Pushed = z.object({
  data: z.object({
    pushState: z.object({
      outcomes: z.array(z.object({ seq: z.number(), status: z.string(), reason: z.string().nullable() })),
    }),
  }),
});

/** Differs in each run, so that nothing found comes from another run. */
const RUN = randomBytes(6).toString("hex");
const canary = (of: string, place: string): string => `canary-${RUN}-${of}-${place}`;

/** A system whose processes log at every level, and the servers it runs on. */
export interface Traced {
  readonly system: System;
  readonly adminUrl: string;
  /** Undefined: this system uses no Redis. */
  readonly redisUrl: string | undefined;
}

/** Registers the test for a system that is running by the time it runs. */
export function describeCanaries(bus: string, running: () => Traced): void {
  test(`what is relayed or stays on its device is in no table, file, queue or log: over ${bus}`, async () => {
    const { system, adminUrl, redisUrl } = running();
    const [gateway] = system.urls;
    await publishNamespaces(system);
    const person = await signUp(gateway);
    const phone = createDevice({ gateway, name: "Phone", platform: "PHONE" });
    const laptop = createDevice({ gateway, name: "Laptop", platform: "LAPTOP" });
    for (const device of [phone, laptop]) await device.signIn(person);
    await using live = laptop.goLive();
    const heard = live.watch(RELAYED);
    const { push, tryPush } = await pusher(gateway, phone);
    const of = `${bus.toLowerCase()}-relay`;

    // Relays only reach current listeners: once this one arrives, the relay is done with it.
    await eventually(
      "the laptop listens",
      async () => {
        await push([{ namespace: "pointers", key: "ping", field: "others", value: 1 }]);
        return heard.seen.length;
      },
      (count) => count > 0,
    );
    const value = { nested: [canary(of, "value")] };
    const outcomes = await push([
      { namespace: "pointers", key: canary(of, "key"), field: canary(of, "field"), value },
      {
        namespace: "secrets",
        key: canary(of, "none-key"),
        field: canary(of, "none-field"),
        value: canary(of, "none-value"),
      },
      // Refused: disallowed op, invalid value, too large, unknown schema version, unknown namespace.
      { namespace: "pointers", key: canary(of, "op"), field: "x", payload: { type: canary(of, "type") } },
      { namespace: "pointers", key: canary(of, "wrong"), field: "shape", value: { [canary(of, "member")]: 1 } },
      { namespace: "pointers", key: "large", field: "x", value: `${canary(of, "large")} ${"x".repeat(5_000)}` },
      { namespace: "pointers", key: "version", field: canary(of, "version"), value: 1, schemaVersion: 9 },
      { namespace: "nowhere", key: canary(of, "unknown-key"), field: "x", value: canary(of, "unknown-value") },
      { namespace: "kept", key: "k", field: "f", value: canary(of, "durable") },
    ]);
    expect(outcomes.map(({ status, reason }) => reason ?? status)).toEqual([
      "APPLIED",
      "NAMESPACE_NOT_STORED",
      "OP_NOT_ALLOWED",
      "VALUE_INVALID",
      "VALUE_TOO_LARGE",
      "SCHEMA_VERSION_UNKNOWN",
      "NAMESPACE_UNKNOWN",
      "APPLIED",
    ]);
    // Refused as a whole: wrong variable type, too many ops, unknown epoch.
    for (const broken of [
      { ops: [{ namespace: "pointers", key: { [canary(of, "object")]: 1 }, field: "x", value: 1 }] },
      {
        ops: Array.from({ length: 101 }, () => ({
          namespace: "pointers",
          key: canary(of, "many"),
          field: "x",
          value: 1,
        })),
      },
      { epoch: randomUUID(), ops: [{ namespace: "pointers", key: canary(of, "epoch"), field: "x", value: 1 }] },
    ])
      expect(await tryPush(broken.ops, "epoch" in broken ? broken.epoch : undefined)).toContain('"errors"');

    const { relayedChanges } = await heard.until("the relayed change comes", ({ relayedChanges: changes }) =>
      changes.some(({ key }) => key === canary(of, "key")),
    );
    expect(relayedChanges).toContainEqual({
      key: canary(of, "key"),
      payload: { type: "SET", value },
      device: { name: "Phone" },
    });

    const found = await rowsWith(adminUrl, canary(of, ""));
    expect(found).toEqual({ "user_state.state_entries": [canary(of, "durable")] });
    const files = await filesWith(adminUrl, canary(of, ""));
    expect(files?.found ?? [canary(of, "durable")]).toEqual([canary(of, "durable")]);
    const keys = redisUrl === undefined ? [canary(of, "control")] : await keysWith(redisUrl, canary(of, ""));
    expect(keys).toEqual([canary(of, "control")]);

    const { gateways, subgraphs, workers } = system;
    const processes = [...gateways, ...Object.values(subgraphs).flat(), ...Object.values(workers)];
    const logs = processes.map(({ log }) => log()).join("\n");
    for (const said of ["subscribed", '"operation":"mutation"', "EPOCH_CHANGED"]) expect(logs).toContain(said);
    expect(canariesIn(logs, canary(of, ""))).toEqual([]);
  });
}

/** As an operator would. */
async function publishNamespaces({ environments }: System): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "continuo-canaries-"));
  try {
    const file = join(folder, "namespaces.json");
    const others = { "*": { kind: "REGISTER", schema: {} } };
    const definition = {
      version: 1,
      policy: { resume: "LATEST_INTENT" },
      ttlSeconds: null,
      quota: { bytes: 100_000, entries: 100 },
      minClientVersion: 1,
      lens: [],
    };
    const definitions = [
      {
        name: "pointers",
        persistence: "RELAY",
        fields: { ...others, shape: { kind: "REGISTER", schema: { type: "object", additionalProperties: false } } },
      },
      { name: "secrets", persistence: "NONE", fields: others },
      { name: "kept", persistence: "DURABLE", fields: others },
    ];
    await writeFile(file, JSON.stringify(definitions.map((own) => ({ ...definition, ...own }))));
    const operator = await startProcess({
      name: "operator",
      file: "services/user-state/src/operator-main.ts",
      argv: ["namespaces", "publish", file],
      env: environments.userState,
    });
    expect(await operator.ended()).toMatchObject({ code: 0 });
  } finally {
    await rm(folder, { recursive: true });
  }
}

interface Op {
  readonly namespace: string;
  readonly key: unknown;
  readonly field: string;
  readonly value?: unknown;
  readonly payload?: unknown;
  readonly schemaVersion?: number;
}

/** Pushes as one replica of a device, in order; `tryPush` returns the raw response and uses no seq up. */
async function pusher(
  gateway: string,
  device: Device,
): Promise<{
  readonly push: (ops: readonly Op[]) => Promise<z.infer<typeof Pushed>["data"]["pushState"]["outcomes"]>;
  readonly tryPush: (ops: readonly Op[], epoch?: string) => Promise<string>;
}> {
  const clientId = randomUUID();
  const { pullState } = await device.ask(PULL_EPOCH);
  let seq = 0;
  async function tryPush(ops: readonly Op[], epoch = pullState.epoch): Promise<string> {
    const clientNow = Date.now();
    const input = {
      clientId,
      epoch,
      clientNow,
      baseRev: 0,
      ops: ops.map(({ value, payload = { type: "SET", value }, ...op }, index) => ({
        ...op,
        seq: seq + index + 1,
        payload,
        stamp: { ms: clientNow, counter: index },
        baseRev: 0,
      })),
    };
    const response = await fetch(`${gateway}/graphql`, {
      method: "POST",
      headers: { "content-type": "application/json", authorization: `Bearer ${device.accessToken}` },
      body: JSON.stringify({ query: PUSH, variables: { input } }),
    });
    return response.text();
  }
  return {
    tryPush,
    async push(ops) {
      const { data } = Pushed.parse(JSON.parse(await tryPush(ops)));
      seq += ops.length;
      return data.pushState.outcomes;
    },
  };
}

function canariesIn(text: string, prefix: string): string[] {
  return [...new Set(text.match(new RegExp(`${prefix}[a-z-]+`, "g")))].sort();
}

/** The canaries in every table of every schema, all columns as text. */
async function rowsWith(adminUrl: string, prefix: string): Promise<Record<string, string[]>> {
  const client = new Client({ connectionString: adminUrl });
  await client.connect();
  try {
    const { rows: tables } = await client.query<{ name: string }>(
      `SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables
       WHERE schemaname NOT IN ('pg_catalog', 'information_schema')`,
    );
    expect(tables.length).toBeGreaterThan(20);
    const found: Record<string, string[]> = {};
    for (const { name } of tables) {
      const { rows } = await client.query<{ row: string }>(
        `SELECT row::text FROM ${name} AS row WHERE row::text LIKE '%' || $1 || '%'`,
        [prefix],
      );
      if (rows.length > 0) found[name] = canariesIn(rows.map(({ row }) => row).join("\n"), prefix);
    }
    return found;
  } finally {
    await client.end();
  }
}

/**
 * The canaries in all files of the Postgres server: tables, write-ahead log, notifications; undefined if the server is
 * elsewhere.
 */
async function filesWith(adminUrl: string, prefix: string): Promise<{ found: string[] } | undefined> {
  const client = new Client({ connectionString: adminUrl });
  await client.connect();
  try {
    await client.query("CHECKPOINT");
    const { rows } = await client.query<{ data_directory: string }>("SHOW data_directory");
    const folder = rows[0]?.data_directory ?? "";
    if (!existsSync(join(folder, "pg_wal"))) return undefined;
    const found: string[] = [];
    for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile()) continue;
      let end = "";
      // A file may be deleted while it is being read.
      const chunks = createReadStream(join(entry.parentPath, entry.name), { encoding: "latin1" });
      await chunks
        .forEach((chunk: string) => {
          found.push(...canariesIn(end + chunk, prefix));
          end = chunk.slice(-200);
        })
        .catch(() => undefined);
    }
    return { found: [...new Set(found)].sort() };
  } finally {
    await client.end();
  }
}

/** The canaries in all keys of a Redis and their values; a canary placed there is found too. */
async function keysWith(url: string, prefix: string): Promise<string[]> {
  const redis = await connectRedis(url, {
    maxRetriesPerRequest: 1,
    enableOfflineQueue: true,
    socketTimeout: 5_000,
    onError: () => undefined,
  });
  const control = `${prefix}control`;
  try {
    await redis.hset(`control-${RUN}`, "field", control);
    const texts: string[] = [];
    for (let cursor = "", keys: string[]; cursor !== "0";) {
      [cursor, keys] = await redis.scan(cursor === "" ? "0" : cursor, "COUNT", 1_000);
      for (const key of keys) {
        const reads: Record<string, () => Promise<unknown>> = {
          string: () => redis.get(key),
          list: () => redis.lrange(key, 0, -1),
          set: () => redis.smembers(key),
          zset: () => redis.zrange(key, "0", "-1"),
          hash: () => redis.hgetall(key),
          stream: () => redis.xrange(key, "-", "+"),
        };
        texts.push(key, JSON.stringify(await reads[await redis.type(key)]?.()) ?? "");
      }
    }
    return canariesIn(texts.join("\n"), prefix);
  } finally {
    await redis.del(`control-${RUN}`);
    redis.disconnect();
  }
}
