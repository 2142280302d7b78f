import { counter, defineNamespace, list, map, register, set, type NamespaceOptions } from "@continuo/namespace";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { Pool } from "pg";
import { createReplica, startSystem, type System } from "../system.fixture.ts";
import { seed } from "../seed.ts";
import { createNamespaceStore } from "./namespace.store.ts";
import { publish, type Publication } from "./publication.ts";

let system: System;
let pool: Pool;
beforeAll(async () => {
  system = await startSystem();
  pool = new Pool({ connectionString: system.env.DATABASE_URL, max: 4 });
});
afterAll(async () => {
  await pool.end();
  await system[Symbol.asyncDispose]();
});

let count = 0;
const newName = (): string => `n${(count += 1)}`;

type Options = Omit<NamespaceOptions, "version"> & { version?: number };
const put = (options: Options, dryRun = false): Promise<Publication> =>
  publish(createNamespaceStore(pool), defineNamespace({ version: 1, ...options }), { dryRun });

/** A process of the service that has just looked: one that looked before knows of a publication within seconds. */
const restart = (): Promise<System> => startSystem({ DATABASE_URL: system.env.DATABASE_URL });

async function rowsOf(name: string): Promise<string[]> {
  const { rows } = await system.admin.query<{ version: number; revision: number }>(
    "SELECT version, revision FROM user_state.namespaces WHERE name = $1 ORDER BY version, revision",
    [name],
  );
  return rows.map(({ version, revision }) => `${version}.${revision}`);
}

const theme = register(z.enum(["light", "dark"]));
const wider = register(z.enum(["light", "dark", "dim"]));

describe("publishing", () => {
  it("adds a revision for what is additive, nothing for what is there already, and refuses what breaks", async () => {
    const name = newName();
    expect(await put({ name, fields: { theme } })).toMatchObject({ result: "PUBLISHED", revision: 1, changes: [] });
    expect(await put({ name, fields: { theme } })).toMatchObject({ result: "UNCHANGED", revision: 1 });
    expect(await put({ name, fields: { theme: wider } })).toMatchObject({ result: "PUBLISHED", revision: 2 });
    expect(await put({ name, fields: { theme } })).toMatchObject({
      result: "REFUSED",
      changes: [{ path: "theme", why: 'no longer takes "dim"', effect: "BREAKING" }],
    });
    const lens = [{ step: "DEFAULT" as const, field: "theme", value: "dark" }];
    expect(await put({ name, version: 2, fields: { theme }, lens })).toMatchObject({
      result: "PUBLISHED",
      revision: 1,
    });
    expect(await rowsOf(name)).toEqual(["1.1", "1.2", "2.1"]);
  });

  it("tried dry says the same and writes nothing", async () => {
    const name = newName();
    expect(await put({ name, fields: { theme } }, true)).toMatchObject({ result: "PUBLISHED", revision: 1 });
    expect(await rowsOf(name)).toEqual([]);
  });

  it("of two at once is as if one came after the other", async () => {
    const name = newName();
    await put({ name, fields: { theme } });
    const same = await Promise.all([1, 2, 3].map(() => put({ name, fields: { theme: wider } })));
    expect(same.map(({ result }) => result).toSorted()).toEqual(["PUBLISHED", "UNCHANGED", "UNCHANGED"]);
    const apart = await Promise.all(
      ["a", "b"].map((field) => put({ name, fields: { theme: wider, [field]: counter() } })),
    );
    expect(apart.map(({ result }) => result).toSorted()).toEqual(["PUBLISHED", "REFUSED"]);
    expect(await rowsOf(name)).toEqual(["1.1", "1.2", "1.3"]);
  });

  it("is for ever: the service may neither change nor delete what was published", async () => {
    const name = newName();
    await put({ name, fields: { theme } });
    for (const change of ["UPDATE user_state.namespaces SET kinds = '{}'", "DELETE FROM user_state.namespaces"])
      await expect(pool.query(change)).rejects.toThrow("permission denied");
  });

  it("does not begin in the middle, nor take a schema that is none", async () => {
    const name = newName();
    expect(await put({ name, version: 2, fields: { theme } })).toMatchObject({ result: "REFUSED" });
    const broken = { kind: "REGISTER" as const, schema: { type: "strong" } };
    await expect(put({ name, fields: { broken } })).rejects.toMatchObject({ reason: "SCHEMA_INVALID" });
    const elsewhere = { kind: "REGISTER" as const, schema: { $ref: "https://elsewhere.example/schema" } };
    await expect(put({ name, fields: { elsewhere } })).rejects.toMatchObject({ reason: "SCHEMA_INVALID" });
    expect(await rowsOf(name)).toEqual([]);
  });
});

it("what every installation starts with gets what a newer release adds, unless it was taken further since", async () => {
  const older = { name: "playback", fields: { title: register(z.json()) } };
  const again = async (standing: Options): Promise<string[]> => {
    await system.admin.query("DELETE FROM user_state.namespaces WHERE name = 'playback'");
    await put(standing);
    await seed(system.env);
    await seed(system.env);
    return rowsOf("playback");
  };
  expect(await again(older)).toEqual(["1.1", "1.2"]);
  expect(await again({ ...older, quota: { entries: 9 } })).toEqual(["1.1"]);
  expect(await again({ ...older, fields: { ...older.fields, mine: counter() } })).toEqual(["1.1"]);
  await system.admin.query("DELETE FROM user_state.namespaces WHERE name = 'playback'");
  await seed(system.env);
  expect(await rowsOf("playback")).toEqual(["1.1"]);
});

it("clients see what was published", async () => {
  const name = newName();
  const quota = { bytes: 1_000, entries: 3 };
  await put({ name, fields: { theme }, quota, policy: { resume: "ASK" }, persistence: "TTL", ttlSeconds: 60 });
  await using restarted = await restart();
  const { data } = await restarted.ask<{ stateNamespaces: { name: string }[] }>(
    createReplica(restarted).caller,
    `{ stateNamespaces { name version revision persistence ttlSeconds resumePolicy minClientVersion lens
         quota { bytes entries } fields { name kind schema } } }`,
  );
  expect(data?.stateNamespaces.find((each) => each.name === name)).toEqual({
    name,
    version: 1,
    revision: 1,
    persistence: "TTL",
    ttlSeconds: 60,
    resumePolicy: "ASK",
    minClientVersion: 1,
    lens: [],
    quota,
    fields: [{ name: "theme", kind: "REGISTER", schema: { type: "string", enum: ["light", "dark"] } }],
  });
});

describe("a push", () => {
  /** `STATUS REASON message` of changes of one namespace. */
  async function pushed(
    name: string,
    changes: readonly (readonly [string, object])[],
    schemaVersion = 1,
  ): Promise<string[]> {
    await using restarted = await restart();
    const phone = createReplica(restarted);
    const ops = changes.map(([field, payload], index) => ({
      seq: index + 1,
      namespace: name,
      key: "k",
      field,
      payload,
      schemaVersion,
    }));
    const { outcomes, lastSeq } = await phone.push({ ops });
    expect(lastSeq).toBe(changes.length);
    return outcomes.map(({ status, reason, message }) => [status, reason, message].filter(Boolean).join(" "));
  }

  it("of a value that its field does not take is refused with the path, and blocks nothing behind it", async () => {
    const name = newName();
    await put({
      name,
      fields: {
        theme,
        at: register(z.object({ lines: z.array(z.string().max(3)) })),
        of: map(z.object({ a: z.int(), b: z.string() })),
        row: list(z.object({ id: z.int() })),
        tags: set(z.enum(["x"])),
      },
    });
    const value = (given: unknown) => ({ type: "SET", value: given });
    expect(
      await pushed(name, [
        ["theme", value("green")],
        ["theme", value("dark")],
        ["at", value({ lines: ["ok", "much"] })],
        ["at", value({ lines: [], more: 1 })],
        ["of", { type: "SET", name: "a", value: "1" }],
        ["of", { type: "SET", name: "c", value: 1 }],
        ["of", { type: "SET", name: "a", value: 1 }],
        ["row", { type: "INSERT", id: "1", value: {}, position: "a0" }],
        ["tags", { type: "ADD", element: "y" }],
        ["tags", { type: "ADD", element: "x" }],
      ]),
    ).toEqual([
      'REJECTED VALUE_INVALID theme must be equal to one of the allowed values: ["light","dark"].',
      "APPLIED",
      "REJECTED VALUE_INVALID at.lines[1] must NOT have more than 3 characters.",
      "REJECTED VALUE_INVALID at.more is not a member.",
      "REJECTED VALUE_INVALID of.a must be integer.",
      "REJECTED VALUE_INVALID of.c is not a member.",
      "APPLIED",
      "REJECTED VALUE_INVALID row must have required property 'id'.",
      'REJECTED VALUE_INVALID tags must be equal to one of the allowed values: ["x"].',
      "APPLIED",
    ]);
  });

  it("meets the quota of its namespace", async () => {
    const name = newName();
    await put({ name, fields: { theme, n: counter() }, quota: { entries: 1 } });
    expect(
      await pushed(name, [
        ["theme", { type: "SET", value: "dark" }],
        ["n", { type: "ADD", delta: 1 }],
      ]),
    ).toEqual(["APPLIED", expect.stringContaining("REJECTED OVER_QUOTA")]);
  });
});

describe("an old client", () => {
  const at = register(z.object({ street: z.string(), fax: z.string().optional() }));
  const atNow = register(z.object({ line: z.string(), country: z.string().optional() }));
  const lens = [
    { step: "RENAME" as const, field: "colour", to: "theme" },
    { step: "DROP" as const, field: "gone" },
    { step: "RENAME" as const, field: "at", path: ["street"], to: "line" },
    { step: "DROP" as const, field: "at", path: ["fax"] },
    { step: "DEFAULT" as const, field: "at", path: ["country"], value: "FR" },
  ];

  it("writes beside new ones: one unit whatever it is called, read as of the newest version", async () => {
    const name = newName();
    await put({ name, fields: { colour: theme, at, gone: counter() } });
    await using before = await restart();
    const phone = createReplica(before);
    const op = { namespace: name, key: "k", schemaVersion: 1 };
    await phone.push({
      ops: [
        { ...op, seq: 1, field: "colour", value: "dark" },
        { ...op, seq: 2, field: "at", value: { street: "A 1", fax: "0" } },
        { ...op, seq: 3, field: "gone", payload: { type: "ADD", delta: 1 } },
      ],
    });
    await put({ name, version: 2, fields: { theme, at: atNow }, lens });

    await using restarted = await restart();
    const laptop = createReplica(restarted, { userId: phone.caller.viewer.userId });
    const shown = async () =>
      (await laptop.pull()).entries.map(({ field, value, schemaVersion }) => [field, value, schemaVersion]);
    expect(await shown()).toEqual([
      ["theme", "dark", 2],
      ["at", { line: "A 1", country: "FR" }, 2],
    ]);

    const { outcomes } = await laptop.push({
      ops: [
        { ...op, seq: 1, field: "theme", value: "light", schemaVersion: 2 },
        { ...op, seq: 2, field: "at", value: { street: "B 2" } },
        { ...op, seq: 3, field: "gone", payload: { type: "ADD", delta: 1 } },
        { ...op, seq: 4, field: "colour", value: "dark" },
        { ...op, seq: 5, field: "theme", value: "dark" },
      ],
    });
    expect(outcomes.map(({ status, reason }) => reason ?? status)).toEqual([
      "APPLIED",
      "APPLIED",
      "FIELD_UNKNOWN",
      "APPLIED",
      "FIELD_UNKNOWN",
    ]);
    expect(await shown()).toEqual([
      ["at", { line: "B 2", country: "FR" }, 2],
      ["theme", "dark", 2],
    ]);

    // What the newest version wrote is not read as if it came from before.
    await laptop.push({ ops: [{ ...op, seq: 6, field: "at", value: { line: "C 3" }, schemaVersion: 2 }] });
    expect(await shown()).toContainEqual(["at", { line: "C 3" }, 2]);
  });

  it("that is too old is paused: nothing of its push is settled, and it still reads", async () => {
    const name = newName();
    await put({ name, fields: { theme } });
    await put({ name, version: 2, fields: { theme: wider }, minClientVersion: 2 });
    await using restarted = await restart();
    const phone = createReplica(restarted);
    const op = { namespace: name, key: "k", field: "theme", value: "dark" };
    const { errors } = await phone.send({
      ops: [
        { seq: 1, value: 1 },
        { ...op, seq: 2, schemaVersion: 1 },
      ],
    });
    expect(errors?.[0]?.extensions).toMatchObject({
      code: "CONFLICT",
      reason: "UPGRADE_REQUIRED",
      details: { namespace: name, schemaVersion: 1, minClientVersion: 2 },
    });
    expect((await phone.pull()).headRev).toBe(0);
    const { lastSeq, outcomes } = await phone.push({
      ops: [
        { seq: 1, value: 1 },
        { ...op, seq: 2, schemaVersion: 2 },
      ],
    });
    expect([lastSeq, ...outcomes.map(({ status }) => status)]).toEqual([2, "APPLIED", "APPLIED"]);
    expect((await phone.pull()).entries).toHaveLength(2);
  });
});
