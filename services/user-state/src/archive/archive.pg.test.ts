import { createHash, randomUUID } from "node:crypto";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough, Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { createIdentitySigner, generateKey, IDENTITY_HEADER, type Caller } from "@continuo/access";
import { load, TEXT_NAME } from "@continuo/merge/text";
import { Pool } from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { runOperator } from "../operator-app.ts";
import { createReplica, startSystem, type Replica, type System } from "../system.fixture.ts";
import { archiveOf } from "./archive.ts";
import { createArchiveStore } from "./archive.store.ts";

const keys = await generateKey("Ed25519");
const signer = createIdentitySigner(keys.privateJwk);
const OF_ALL = {
  title: "REGISTER",
  chapter: "MAX",
  from: "MIN",
  plays: "COUNTER",
  tips: "SET",
  panes: "MAP",
  queue: "LIST",
  place: "PROGRESS",
  letter: "DRAFT",
  note: "TEXT",
};

let system: System;
let pool: Pool;
let folder: string;
beforeAll(async () => {
  system = await startSystem();
  pool = new Pool({ connectionString: system.env.DATABASE_URL, max: 4 });
  pool.on("error", () => undefined);
  folder = await mkdtemp(join(tmpdir(), "continuo-archive-"));
  await system.admin.query(
    `INSERT INTO user_state.namespaces (name, version, kinds, schema, persistence, quota_entries, created_at)
     VALUES ('things', 1, $1, '{}', 'DURABLE', 5000, now()), ('small', 1, '{"*": "REGISTER"}', '{}', 'DURABLE', 2, now())`,
    [JSON.stringify(OF_ALL)],
  );
  await system.admin.query(
    `INSERT INTO user_state.namespaces (name, version, kinds, schema, persistence, ttl_seconds, created_at)
     VALUES ('brief', 1, '{"tips": "SET"}', '{}', 'TTL', 3600, now())`,
  );
});
afterAll(async () => {
  await pool.end();
  await rm(folder, { recursive: true });
  await system[Symbol.asyncDispose]();
});

interface Outcome {
  readonly code: number;
  readonly value: Record<string, unknown>;
  readonly said: string;
}
const operate = (...argv: string[]): Promise<Outcome> => operateOn(Readable.from([]), ...argv);
async function operateOn(stdin: Readable, ...argv: string[]): Promise<Outcome> {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  const source = async () => ({ DATABASE_URL: system.database.url.userState, LOG_LEVEL: "silent" });
  const code = await runOperator(["state", ...argv, "--json"], { source, streams: { stdin, stdout, stderr } });
  stdout.end();
  stderr.end();
  const [out, said] = await Promise.all([text(stdout), text(stderr)]);
  return { code, value: out === "" ? {} : JSON.parse(out), said };
}
const fileFor = (): string => join(folder, `${randomUUID()}.ndjson`);
const userOf = ({ caller }: Replica): string => caller.viewer.userId;
async function linesOf(replica: Replica): Promise<string[]> {
  let whole = "";
  for await (const part of archiveOf(createArchiveStore(pool), userOf(replica))) whole += part;
  return whole.split("\n").slice(0, -1);
}
async function fileOf(lines: readonly string[]): Promise<string> {
  const file = fileFor();
  await writeFile(file, lines.map((line) => `${line}\n`).join(""));
  return file;
}

/** Changed lines, with an end line whose checksum matches them. */
function resealed(lines: readonly string[]): string[] {
  const inner = lines.slice(0, -1);
  const sha256 = createHash("sha256")
    .update(inner.map((line) => `${line}\n`).join(""))
    .digest("hex");
  return [...inner, JSON.stringify({ end: { ...JSON.parse(lines.at(-1) ?? "").end, sha256 } })];
}

/** Something of every kind, and deletions. */
async function busy(): Promise<Replica> {
  const phone = createReplica(system);
  const document = load({ generation: 0, document: null, updates: [] });
  const updates: string[] = [];
  document.on("updateV2", (update: Uint8Array) => updates.push(Buffer.from(update).toString("base64")));
  document.getText(TEXT_NAME).insert(0, "Dear Ada");
  document.getText(TEXT_NAME).insert(8, ", hello");
  const report = { epoch: 0, position: 61, duration: 7_000, unit: "SECONDS", intent: "PLAY" };
  const changes: [field: string, payload: object][] = [
    ["title", { type: "SET", value: "one" }],
    ["title", { type: "SET", value: "two" }],
    ["chapter", { type: "SET", value: 7 }],
    ["from", { type: "SET", value: -3 }],
    ["plays", { type: "ADD", delta: -5 }],
    ["tips", { type: "ADD", element: "a" }],
    ["tips", { type: "ADD", element: "b" }],
    ["tips", { type: "REMOVE", element: "a" }],
    ["panes", { type: "SET", name: "left", value: 1 }],
    ["panes", { type: "UNSET", name: "right" }],
    ["queue", { type: "INSERT", id: "x", value: "film", position: "a0" }],
    ["place", { type: "REPORT", ...report }],
    ["letter", { type: "EDIT", generation: 0, name: "body", value: "draft" }],
    ["letter", { type: "SUBMIT", generation: 0, idempotencyKey: "k" }],
    ["letter", { type: "EDIT", generation: 1, name: "body", value: "second" }],
    ...updates.map((update): [string, object] => ["note", { type: "UPDATE", generation: 0, update }]),
  ];
  const ops = changes.map(([field, payload], index) => ({
    seq: index + 1,
    namespace: "things",
    key: "k",
    field,
    payload,
  }));
  const gone = { namespace: "things", key: "gone", field: "title" };
  const { outcomes } = await phone.push({
    ops: [
      ...ops,
      { seq: ops.length + 1, ...gone, value: "soon gone" },
      { seq: ops.length + 2, ...gone, payload: { type: "DELETE" } },
      { seq: ops.length + 3, ...gone, field: "nowhere", value: 1 },
    ],
  });
  expect(outcomes.map(({ status }) => status).filter((status) => status === "REJECTED")).toHaveLength(1);
  return phone;
}

/** What a fresh device of theirs shows, byte for byte. */
async function shownTo(replica: Replica): Promise<string> {
  const { entries } = await replica.sibling().pull();
  return JSON.stringify(
    entries
      .filter(({ deleted }) => !deleted)
      .map(({ namespace, key, field, kind, value }) => ({ namespace, key, field, kind, value }))
      .sort((one, other) => (one.key + one.field < other.key + other.field ? -1 : 1)),
  );
}

describe("an export", () => {
  it("has a header, a line for each unit whole, each answer and replica, and an end that counts them", async () => {
    const phone = await busy();
    const lines = (await linesOf(phone)).map((line) => JSON.parse(line));
    const { epoch, headRev } = await phone.pull();
    expect(lines[0]).toMatchObject({
      archive: { format: 1, userId: userOf(phone), epoch, rev: headRev, namespaces: [{ name: "things", version: 1 }] },
    });
    const note = lines.find(({ unit }) => unit?.field === "note").unit;
    expect(note).toMatchObject({ kind: "TEXT", state: { generation: 0, updates: [] } });
    expect(lines.filter(({ unit }) => unit?.deleted)).toHaveLength(1);
    expect(lines.filter(({ outcome }) => outcome !== undefined)).not.toHaveLength(0);
    expect(lines.at(-1)).toMatchObject({
      end: { units: 11, activities: 0, replicas: 1, sha256: expect.stringMatching(/^[\da-f]{64}$/) },
    });
  });

  it("is of one moment: what is changed while it is read is not in it", async () => {
    const phone = createReplica(system);
    await phone.push({ ops: [{ seq: 1, value: "before" }] });
    const parts: string[] = [];
    for await (const part of archiveOf(createArchiveStore(pool), userOf(phone))) {
      if (parts.length === 0) await phone.push({ ops: [{ seq: 2, value: "after" }] });
      parts.push(part);
    }
    expect(parts.join("")).toContain("before");
    expect(parts.join("")).not.toContain("after");
  });

  it("goes to nobody who has not just signed in, and to the person over HTTP", async () => {
    await using own = await startSystem({ GATEWAY_PUBLIC_KEY: JSON.stringify(keys.publicJwk) });
    const viewer = createReplica(own).caller.viewer;
    const url = new URL("/account/state", own.url);
    const ask = async (caller: Caller) => fetch(url, { headers: { [IDENTITY_HEADER]: await signer.sign(caller) } });
    const get = (authTime: number) => ask({ kind: "viewer", viewer: { ...viewer, authTime } });
    const nobody = await Promise.all([ask({ kind: "anonymous" }), fetch(url)]);
    expect(nobody.map(({ status }) => status)).toEqual([401, 401]);
    expect(await nobody[0]?.json()).toMatchObject({ errors: [{ extensions: { reason: "SIGN_IN_REQUIRED" } }] });
    const now = Math.floor(Date.now() / 1_000);
    const late = await get(now - 301);
    expect([late.status, await late.json()]).toMatchObject([
      401,
      { errors: [{ extensions: { reason: "AUTHENTICATION_TOO_OLD", details: { maxAge: 300 } } }] },
    ]);
    const answer = await get(now - 5);
    expect(answer.headers.get("content-type")).toBe("application/x-ndjson");
    expect(await answer.text()).toMatch(/^\{"end":\{"units":0/);
  });

  it("gives its connection back when nobody takes it", async () => {
    const phone = await busy();
    const slow = createArchiveStore(pool, { partWithinMs: 30 });
    const parts = archiveOf(slow, userOf(phone))[Symbol.asyncIterator]();
    await parts.next();
    await expect.poll(() => pool.totalCount - pool.idleCount).toBe(0);
    await expect(parts.next()).rejects.toMatchObject({ reason: "EXPORT_TOO_SLOW" });
  });

  it("of 100,000 entries takes little memory", async () => {
    const phone = createReplica(system);
    await phone.push({ ops: [{ seq: 1, value: "first" }] });
    await system.admin.query(
      `INSERT INTO user_state.state_entries
         (user_id, namespace, key, field, kind, state, deleted, ms, rev, schema_version, bytes)
       SELECT user_id, namespace, 'many ' || n, field, kind,
              jsonb_set(state, '{standing,value}', to_jsonb(repeat(md5(n::text), 16))), deleted, ms, rev + n, schema_version, 700
       FROM user_state.state_entries, generate_series(1, 100000) AS n WHERE user_id = $1`,
      [userOf(phone)],
    );
    // Memory in use, not garbage awaiting collection.
    setFlagsFromString("--expose-gc");
    const collect: () => void = runInNewContext("gc");
    const held = (): number => {
      collect();
      const { heapUsed, external } = process.memoryUsage();
      return heapUsed + external;
    };
    const before = held();
    let [bytes, units, most, largest, parts] = [0, 0, 0, 0, 0];
    for await (const part of archiveOf(createArchiveStore(pool), userOf(phone))) {
      bytes += part.length;
      parts += 1;
      largest = Math.max(largest, part.length);
      units += part.split('{"unit"').length - 1;
      if (parts % 20 === 0) most = Math.max(most, held() - before);
    }
    expect(units).toBe(100_001);
    expect(bytes).toBeGreaterThan(70_000_000);
    expect(largest).toBeLessThan(4_000_000);
    expect(most).toBeLessThan(32_000_000);
  });
});

describe("an import", () => {
  it("after an erasure shows a fresh device the same, byte for byte; deletions still count", async () => {
    const phone = await busy();
    const before = await shownTo(phone);
    const file = fileFor();
    expect((await operate("export", "--user", userOf(phone), "--file", file)).code).toBe(0);
    expect((await operate("erase", "--user", userOf(phone), "--yes")).code).toBe(0);
    expect(await shownTo(phone)).toBe("[]");

    const tried = await operate("import", "--user", userOf(phone), "--file", file, "--dry-run");
    expect(tried).toMatchObject({ code: 0, value: { units: 11, merged: 11, refused: 0, dryRun: true } });
    expect(await shownTo(phone)).toBe("[]");
    expect(await operate("import", "--user", userOf(phone), "--file", file)).toMatchObject({
      code: 0,
      value: { units: 11, merged: 11, unchanged: 0, refused: 0 },
    });
    expect(await shownTo(phone)).toBe(before);
    expect(await operate("import", "--user", userOf(phone), "--file", file)).toMatchObject({
      code: 0,
      value: { merged: 0, unchanged: 11 },
    });

    // Written before the deletion, and by somebody who has read all there is: it loses against the tombstone.
    const laptop = phone.sibling();
    const { headRev } = await laptop.pull();
    const stamp = { ms: Date.now() - 3_600_000, counter: 0 };
    const { outcomes } = await laptop.push({
      baseRev: headRev,
      ops: [
        { seq: 1, namespace: "things", key: "gone", field: "title", value: "back", stamp },
        {
          seq: 2,
          namespace: "things",
          key: "k",
          field: "letter",
          payload: { type: "EDIT", generation: 0, name: "body", value: "late" },
        },
      ],
    });
    expect(outcomes.map(({ status }) => status)).toEqual(["MERGED", "SUPERSEDED"]);
    expect(await shownTo(phone)).toBe(before);
  });

  it("joins what stands with what comes, and takes nothing away", async () => {
    const [one, other] = [await busy(), createReplica(system)];
    const later = Date.now();
    await other.push({
      ops: [
        { seq: 1, namespace: "things", key: "k", field: "title", value: "theirs", stamp: { ms: later, counter: 9 } },
        { seq: 2, namespace: "things", key: "k", field: "tips", payload: { type: "ADD", element: "c" } },
        ...Array.from({ length: 20 }, (_, index) => ({ seq: 3 + index, key: "busy", value: index })),
      ],
    });
    const { headRev } = await other.pull();
    const file = await fileOf(await linesOf(one));
    expect(await operate("import", "--user", userOf(other), "--file", file)).toMatchObject({ code: 3 });
    expect(await operate("import", "--user", userOf(other), "--file", file, "--yes")).toMatchObject({ code: 0 });
    const { entries } = await other.sibling().pull();
    const valueOf = (field: string) => entries.find((entry) => entry.key === "k" && entry.field === field)?.value;
    expect([valueOf("title"), valueOf("tips"), valueOf("chapter")]).toEqual(["theirs", ["b", "c"], 7]);

    // What ended there has ended here, with all that was written into it here.
    const third = await busy();
    const write = async (replica: Replica, payload: object) => {
      const { lastSeq } = await replica.pull({ clientId: replica.clientId });
      await replica.push({ ops: [{ seq: (lastSeq ?? 0) + 1, namespace: "things", key: "k", field: "note", payload }] });
    };
    const document = load({ generation: 0, document: null, updates: [] });
    const updates: string[] = [];
    document.on("updateV2", (update: Uint8Array) => updates.push(Buffer.from(update).toString("base64")));
    document.getText(TEXT_NAME).insert(0, "here");
    await write(third, { type: "UPDATE", generation: 0, update: updates[0] });
    await write(one, { type: "RESET", generation: 0 });
    const ended = await fileOf(await linesOf(one));
    expect(await operate("import", "--user", userOf(third), "--file", ended, "--yes")).toMatchObject({ code: 0 });
    expect((await third.sibling().pull()).entries.find(({ field }) => field === "note")?.value).toBeNull();

    // A replica that was up to date before the import had not seen any of it.
    const remove = { seq: 23, namespace: "things", key: "k", field: "tips", payload: { type: "REMOVE", element: "b" } };
    expect((await other.push({ baseRev: headRev, ops: [remove] })).outcomes[0]?.current).toEqual(["b", "c"]);
  });

  it("of this very history changes nothing: what was deleted since stays deleted", async () => {
    const phone = createReplica(system);
    const tips = { namespace: "things", key: "k", field: "tips" };
    await phone.push({
      ops: [
        { seq: 1, value: "x" },
        { seq: 2, ...tips, payload: { type: "ADD", element: "a" } },
      ],
    });
    const file = await fileOf(await linesOf(phone));
    await phone.push({
      baseRev: 2,
      ops: [
        { seq: 3, payload: { type: "DELETE" } },
        { seq: 4, ...tips, payload: { type: "REMOVE", element: "a" } },
      ],
    });
    expect(await operate("import", "--user", userOf(phone), "--file", file)).toMatchObject({
      code: 0,
      value: { merged: 0, unchanged: 2 },
    });
    expect(await shownTo(phone)).toBe("[]");
  });

  it("brings back what this history has lost, and a fence behind which others start over", async () => {
    const phone = createReplica(system);
    await phone.push({ ops: ["kept", "lost"].map((key, index) => ({ seq: index + 1, key, value: key })) });
    const before = await shownTo(phone);
    const [head = "", ...lines] = await linesOf(phone);
    const { to } = await phone.pull();
    // As a backup does.
    await system.admin.query("UPDATE user_state.user_heads SET rev = 1 WHERE user_id = $1", [userOf(phone)]);
    await system.admin.query("DELETE FROM user_state.state_entries WHERE user_id = $1 AND key = 'lost'", [
      userOf(phone),
    ]);
    const pruned = JSON.stringify({ archive: { ...JSON.parse(head).archive, prunedRev: 2 } });
    const file = await fileOf(resealed([pruned, ...lines]));
    expect(await operate("import", "--user", userOf(phone), "--file", file, "--yes")).toMatchObject({
      code: 0,
      value: { merged: 1, unchanged: 1 },
    });
    expect(await shownTo(phone)).toBe(before);
    expect((await phone.pull({ since: to })).reset).toBe("PRUNED");
  });

  it.each([
    ["keeps the later end of the two", { here: 3_000, there: 60 }, ["here", "there"], 3_000],
    ["gives nobody more than its namespace does", { here: 60, there: 9_999_999 }, ["here", "there"], 3_600],
    ["brings nothing back that is over here", { here: -1, there: 60 }, ["there"], 60],
    ["brings nothing back that is over there", { here: 60, there: -1 }, ["here"], 60],
  ])("of what is kept for a while %s", async (_what, { here, there }, value, seconds) => {
    const [one, other] = [createReplica(system), createReplica(system)];
    const tips = { seq: 1, namespace: "brief", key: "k", field: "tips" };
    await one.push({ ops: [{ ...tips, payload: { type: "ADD", element: "there" } }] });
    await other.push({ ops: [{ ...tips, payload: { type: "ADD", element: "here" } }] });
    const now = Date.now();
    await system.admin.query("UPDATE user_state.state_entries SET expires_at = $2 WHERE user_id = $1", [
      userOf(other),
      new Date(now + here * 1_000),
    ]);
    const lines = (await linesOf(one)).map((line) => line.replace(/(?<="expiresAt":)\d+/, `${now + there * 1_000}`));
    const file = await fileOf(resealed(lines));
    expect(await operate("import", "--user", userOf(other), "--file", file, "--yes")).toMatchObject({ code: 0 });
    const [entry] = (await other.sibling().pull()).entries;
    expect(entry?.value).toEqual(value);
    expect(Math.abs(Number(entry?.expiresAt) - (now + seconds * 1_000))).toBeLessThan(30_000);
  });

  it("obeys quotas, unless it is told not to", async () => {
    const phone = createReplica(system);
    const small = (key: string, seq: number) => ({ seq, namespace: "small", key, field: "f", value: key });
    // More than are taken in at once.
    const more = (seq: number) =>
      Array.from({ length: 100 }, (_, index) => ({ seq: seq + index, key: `k${seq + index}`, value: 1 }));
    await phone.push({ ops: [small("a", 1), ...more(2).slice(0, 99)] });
    await phone.push({ ops: more(101) });
    await phone.push({ ops: [...more(201).slice(0, 9), small("b", 210)] });
    const lines = await linesOf(phone);
    const other = createReplica(system);
    await other.push({ ops: [small("c", 1)] });
    const file = await fileOf(lines);
    const into = ["--user", userOf(other), "--file", file, "--yes"];
    for (const way of [["--dry-run"], []])
      expect(await operate("import", ...into, ...way)).toMatchObject({
        code: 3,
        value: { merged: 209, refused: 1, reasons: { OVER_QUOTA: 1 } },
      });
    expect(await operate("import", ...into, "--over-quota")).toMatchObject({
      code: 0,
      value: { merged: 1, unchanged: 209 },
    });
  });

  it("refuses what is cut short, changed, foreign or newer, before it writes anything", async () => {
    const phone = await busy();
    const lines = await linesOf(phone);
    const [head = "", unit = ""] = lines;
    const target = createReplica(system);
    const refusal = async (given: readonly string[]) => {
      const { code, said } = await operate("import", "--user", userOf(target), "--file", await fileOf(given), "--yes");
      expect(code).toBe(1);
      const { error } = JSON.parse(said);
      return error.code === "BAD_USER_INPUT/ARCHIVE_DAMAGED" ? error.message : error.code;
    };
    expect(await refusal(lines.slice(0, -1))).toBe("BAD_USER_INPUT/ARCHIVE_TRUNCATED");
    expect(await refusal([head, unit.slice(0, 30)])).toBe("BAD_USER_INPUT/ARCHIVE_TRUNCATED");
    expect(await refusal([])).toBe("BAD_USER_INPUT/ARCHIVE_FOREIGN");
    expect(await refusal(['{"record":"x"}'])).toBe("BAD_USER_INPUT/ARCHIVE_FOREIGN");
    expect(await refusal([head, ...lines.slice(2)])).toContain("sums up");
    expect(await refusal(lines.map((line) => line.replace('"two"', '"six"')))).toContain("sums up");
    expect(await refusal([head, unit, '{"unit":{}}', ...lines.slice(2)])).toContain("line 3 ");
    expect(await refusal([...lines, unit])).toContain(`line ${lines.length + 1} `);
    expect(await refusal([head.replace('"format":1', '"format":2'), ...lines.slice(1)])).toBe(
      "BAD_USER_INPUT/ARCHIVE_TOO_NEW",
    );
    const sealed = (change: object): string[] => {
      const header = JSON.stringify({ archive: { ...JSON.parse(head).archive, ...change } });
      return resealed([header, ...lines.slice(1)]);
    };
    expect(await refusal(sealed({ at: Date.now() + 3_600_000 }))).toBe("BAD_USER_INPUT/ARCHIVE_FROM_FUTURE");
    expect(await refusal(sealed({ rev: Number.MAX_SAFE_INTEGER }))).toBe("BAD_USER_INPUT/ARCHIVE_FOREIGN");
    expect(await refusal(sealed({ prunedRev: 1_000 }))).toBe("BAD_USER_INPUT/ARCHIVE_FOREIGN");
    expect(await shownTo(target)).toBe("[]");
    await operate("import", "--user", userOf(target), "--file", await fileOf(sealed({})), "--yes");
    expect(await shownTo(target)).toBe(await shownTo(phone));
  });

  it("leaves out a unit that says what no history can have: a later time, a further revision, a generation beyond all", async () => {
    const phone = await busy();
    const lines = await linesOf(phone);
    const [head = ""] = lines;
    const { at, rev } = JSON.parse(head).archive;
    const forged = async (pattern: RegExp, by: string) => {
      const target = createReplica(system);
      const file = await fileOf(resealed(lines.map((line, index) => (index === 0 ? line : line.replace(pattern, by)))));
      const { value } = await operate("import", "--user", userOf(target), "--file", file, "--yes");
      return [value["merged"], value["reasons"]];
    };
    const inState = (field: string, pattern: string) =>
      new RegExp(`(?<=^\\{"unit":.*"field":"${field}".*"state":.*${pattern}":)\\d+`);
    expect(await forged(/$/, "")).toEqual([11, {}]);
    const late = createReplica(system);
    const ahead = lines.map((line) =>
      line.replace(/(?<="ms":)\d+(?=,"deleted")|(?<="removedMs":)\d+/g, `${at + 3_600_000}`),
    );
    await operate("import", "--user", userOf(late), "--file", await fileOf(resealed(ahead)), "--yes");
    expect((await late.pull()).serverNow).toBeLessThan(at + 3_600_000);
    const { rows } = await system.admin.query<{ latest: number }>(
      "SELECT max(removed_ms)::float8 AS latest FROM user_state.state_entries WHERE user_id = $1",
      [userOf(late)],
    );
    expect(rows[0]?.latest).toBeLessThan(at + 3_600_000);
    for (const field of ["chapter", "from", "tips", "panes", "queue", "place", "letter"])
      expect([field, ...(await forged(inState(field, '"ms'), `${at + 1}`))]).toEqual([field, 10, { STATE_INVALID: 1 }]);
    for (const field of ["tips", "panes", "queue", "place", "letter"])
      expect([field, ...(await forged(inState(field, '"rev'), `${rev + 1}`))]).toEqual([
        field,
        10,
        { STATE_INVALID: 1 },
      ]);
    for (const [field, name] of [
      ["place", '"epoch'],
      ["place", '"baseRev'],
      ["note", '"generation'],
    ] as const)
      expect([field, ...(await forged(inState(field, name), "1000000001"))]).toEqual([field, 10, { STATE_INVALID: 1 }]);
  });

  it("comes over standard input, too, and leaves nothing behind when it is broken off by Ctrl-C", async () => {
    const phone = await busy();
    const lines = (await linesOf(phone)).map((line) => `${line}\n`);
    const [taker, other] = [createReplica(system), createReplica(system)];
    const taken = await operateOn(Readable.from(lines), "import", "--user", userOf(taker), "--yes");
    expect(taken).toMatchObject({ code: 0, value: { merged: 11 } });
    expect(await shownTo(taker)).toBe(await shownTo(phone));

    const aside = await mkdtemp(join(folder, "aside-"));
    const command = ["state", "import", "--user", userOf(other), "--yes"];
    const child = spawn(process.execPath, [join(import.meta.dirname, "../operator-main.ts"), ...command], {
      env: { DATABASE_URL: system.database.url.userState, LOG_LEVEL: "silent", TMPDIR: aside },
      stdio: ["pipe", "ignore", "ignore"],
    });
    const ended = once(child, "exit");
    child.stdin.write(lines.slice(0, 5).join(""));
    await expect.poll(() => readdir(aside)).toHaveLength(1);
    child.kill("SIGINT");
    expect(await ended).toEqual([1, null]);
    expect(await readdir(aside)).toEqual([]);
    expect(await shownTo(other)).toBe("[]");
  });

  it("writes to standard output, and its report aside", async () => {
    const phone = createReplica(system);
    await phone.push({ ops: [{ seq: 1, value: "x" }] });
    const [stdin, stdout, stderr] = [new PassThrough(), new PassThrough(), new PassThrough()];
    const source = async () => ({ DATABASE_URL: system.database.url.userState, LOG_LEVEL: "silent" });
    const code = await runOperator(["state", "export", "--user", userOf(phone)], {
      source,
      streams: { stdin, stdout, stderr },
    });
    stdout.end();
    stderr.end();
    expect([code, (await text(stdout)).split("\n").length, await text(stderr)]).toEqual([
      0,
      5,
      expect.stringContaining("bytes"),
    ]);
  });
});

it("an export is the operator's alone to read", async () => {
  const phone = createReplica(system);
  await phone.push({ ops: [{ seq: 1, value: "x" }] });
  const file = fileFor();
  await operate("export", "--user", userOf(phone), "--file", file);
  expect((await readFile(file, "utf8")).split("\n")).toHaveLength(5);
  expect((await stat(file)).mode & 0o777).toBe(0o600);
});
