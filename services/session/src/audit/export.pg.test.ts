import { randomBytes } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { operate } from "../operator.fixture.ts";
import type { Person, SignedIn } from "../person.fixture.ts";
import { startSystem, type System } from "../system.fixture.ts";

let system: System;
let folder: string;
beforeAll(async () => {
  system = await startSystem();
  folder = await mkdtemp(join(tmpdir(), "continuo-audit-"));
});
afterAll(async () => {
  await rm(folder, { recursive: true });
  await system[Symbol.asyncDispose]();
});

const download = (session: SignedIn): Promise<Response> =>
  system.get("/account/security-events", { kind: "viewer", viewer: session.viewer });
async function exportOf(session: SignedIn): Promise<string[]> {
  const response = await download(session);
  expect(response.headers.get("content-type")).toBe("application/x-ndjson");
  return (await response.text()).split("\n").slice(0, -1);
}

/** A person with four events, and a session of theirs. */
async function busy(): Promise<{ person: Person; session: SignedIn }> {
  const person = system.person();
  const session = await person.signIn();
  for (const name of ["One", "Two", "Three"]) await rename(session, name);
  return { person, session };
}
const rename = (session: SignedIn, name: string): Promise<unknown> =>
  session.data(`mutation ($id: ID!, $name: String!) { renameDevice(id: $id, name: $name) { id } }`, {
    id: session.viewer.deviceId,
    name,
  });

async function keysFile(): Promise<string> {
  const response = await system.get("/.well-known/jwks.json", { kind: "anonymous" });
  return fileOf([await response.text()]);
}
async function fileOf(lines: readonly string[]): Promise<string> {
  const path = join(folder, randomBytes(8).toString("hex"));
  await writeFile(path, lines.map((line) => `${line}\n`).join(""));
  return path;
}

const Judged = z.object({
  intact: z.boolean(),
  events: z.number(),
  firstProblem: z.looseObject({ problem: z.string() }).nullable(),
  database: z.string(),
});
/** The result of `audit verify --file` on these lines, with only the public keys. */
async function judge(lines: readonly string[]): Promise<unknown[]> {
  const { code, value } = await operate(
    system,
    "audit",
    "verify",
    "--file",
    await fileOf(lines),
    "--jwks",
    await keysFile(),
  );
  const { intact, firstProblem } = Judged.parse(value);
  expect(code).toBe(intact ? 0 : 1);
  return firstProblem === null ? [] : [firstProblem.problem, firstProblem["seq"] ?? firstProblem["line"]];
}

/** Changes rows as a database owner could, bypassing every trigger. */
async function tamper(...statements: readonly [sql: string, values: unknown[]][]): Promise<void> {
  const client = await system.admin.connect();
  await client.query("SET session_replication_role = replica");
  for (const [sql, values] of statements) await client.query(sql, values);
  await client.query("RESET session_replication_role");
  client.release();
}

describe("an export", () => {
  it("proves itself with the public keys alone", async () => {
    const { session } = await busy();
    const lines = await exportOf(session);
    expect(lines).toHaveLength(5);
    expect(await judge(lines)).toEqual([]);
  });

  it("is whole however many events there are", async () => {
    const { person, session } = await busy();
    await system.admin.query(
      `INSERT INTO session.auth_events (user_id, at, type)
       SELECT $1, $2, 'DEVICE_RENAMED' FROM generate_series(1, 1000)`,
      [person.userId, system.clock.now],
    );
    const lines = await exportOf(session);
    expect(lines).toHaveLength(1_005);
    expect(await judge(lines)).toEqual([]);
  });

  it("is for somebody who has just signed in", async () => {
    const { session } = await busy();
    system.clock.advance(301_000);
    const response = await download(session);
    expect(response.status).toBe(401);
    expect(await response.json()).toMatchObject({
      errors: [
        { extensions: { code: "STEP_UP_REQUIRED", reason: "AUTHENTICATION_TOO_OLD", details: { maxAge: 300 } } },
      ],
    });
    const stranger = await system.get("/account/security-events", { kind: "anonymous" });
    expect(await stranger.json()).toMatchObject({ errors: [{ extensions: { reason: "SIGN_IN_REQUIRED" } }] });
  });

  it("shows a changed record, a line taken out, a swapped pair, a cut tail, a lost head and a forged one", async () => {
    const { session } = await busy();
    const other = await exportOf((await busy()).session);
    const lines = await exportOf(session);
    const [one = "", two = "", three = "", four = "", head = ""] = lines;
    expect(await judge([one, two.replace("One", "Uno"), three, four, head])).toEqual(["HASH_DIFFERS", 2]);
    expect(await judge([one, three, four, head])).toEqual(["MISSING", 2]);
    expect(await judge([one, three, two, four, head])).toEqual(["MISSING", 2]);
    expect(await judge([one, two, three, head])).toEqual(["TAIL_MISSING", 4]);
    expect(await judge([one, two, three, four])).toEqual(["HEAD_MISSING", undefined]);
    expect(await judge([one, two.slice(0, 9), three, four, head])).toEqual(["LINE_UNREADABLE", 2]);
    expect(await judge([...other.slice(0, 4), head])).toEqual(["RECORD_OF_ANOTHER", 1]);
    expect(await judge([one, two, three, four, head.replace(/.{20}"}$/, `${"A".repeat(20)}"}`)])).toEqual([
      "HEAD_NOT_SIGNED",
      undefined,
    ]);
    const token = JSON.stringify({ head: session.tokens.accessToken });
    expect(await judge([one, two, three, four, token])).toEqual(["HEAD_NOT_SIGNED", undefined]);
  });

  it("of earlier still agrees with the database that has gone on, and shows when that was written anew", async () => {
    const { person, session } = await busy();
    const file = await fileOf(await exportOf(session));
    const compare = async (): Promise<unknown> => {
      const { code, value } = await operate(system, "audit", "verify", "--file", file);
      return [code, Judged.parse(value).database];
    };
    await rename(session, "Four");
    expect(await compare()).toEqual([0, "SAME"]);

    // Removes the last two events and chains the next ones to the remainder, so the chain itself is intact.
    await tamper(
      ["DELETE FROM session.auth_events WHERE user_id = $1 AND seq > 3", [person.userId]],
      [
        `UPDATE session.auth_chains AS c SET seq = e.seq, hash = e.hash FROM session.auth_events AS e
          WHERE c.user_id = $1 AND e.user_id = $1 AND e.seq = 3`,
        [person.userId],
      ],
    );
    await rename(session, "Five");
    expect(await operate(system, "audit", "verify", "--user", person.userId)).toMatchObject({ code: 0 });
    expect(await compare()).toEqual([1, "DIFFERS"]);
  });

  it("of long ago is checked with the key of that time", async () => {
    const { session } = await busy();
    const file = await fileOf(await exportOf(session));
    const { value } = await operate(system, "keys", "list");
    const [key] = z.array(z.object({ kid: z.string() })).parse(value);
    await operate(system, "keys", "retire", key?.kid ?? "", "--now", "--yes");
    expect(await operate(system, "audit", "verify", "--file", file)).toMatchObject({ code: 0 });
    const { code } = await operate(system, "audit", "verify", "--file", file, "--jwks", await keysFile());
    expect(code).toBe(1);
  });
});

describe("an operator", () => {
  it("sees a user's events", async () => {
    const { person } = await busy();
    const { code, value } = await operate(system, "audit", "show", "--user", person.userId, "--limit", "2");
    expect(code).toBe(0);
    expect(value).toMatchObject([
      { seq: 4, type: "DEVICE_RENAMED", detail: { name: "Three" } },
      { seq: 3, type: "DEVICE_RENAMED", detail: { name: "Two" } },
    ]);
  });

  it("finds whatever was done to the rows, and whose they are", async () => {
    const people = await Promise.all(Array.from({ length: 9 }, async () => (await busy()).person.userId));
    const [changed, column, removed, swapped, cut, emptied, chainless, forged, untouched] = people;
    const all = async (): Promise<unknown> => operate(system, "audit", "verify", "--all");
    const { events } = z
      .object({ events: z.number(), intact: z.literal(true), brokenUsers: z.literal(0) })
      .parse((await operate(system, "audit", "verify", "--all")).value);
    expect(events).toBeGreaterThanOrEqual(32);
    await tamper(
      [
        `UPDATE session.auth_events SET record = replace(record, 'One', 'Uno') WHERE user_id = $1 AND seq = 2`,
        [changed],
      ],
      [`UPDATE session.auth_events SET at = at - interval '1 day' WHERE user_id = $1 AND seq = 2`, [column]],
      [`DELETE FROM session.auth_events WHERE user_id = $1 AND seq = 2`, [removed]],
      [`UPDATE session.auth_events SET seq = 100 WHERE user_id = $1 AND seq = 2`, [swapped]],
      [`UPDATE session.auth_events SET seq = 2 WHERE user_id = $1 AND seq = 3`, [swapped]],
      [`UPDATE session.auth_events SET seq = 3 WHERE user_id = $1 AND seq = 100`, [swapped]],
      [`DELETE FROM session.auth_events WHERE user_id = $1 AND seq = 4`, [cut]],
      [`DELETE FROM session.auth_events WHERE user_id = $1`, [emptied]],
      [`DELETE FROM session.auth_chains WHERE user_id = $1`, [chainless]],
      [
        `INSERT INTO session.auth_events (user_id, seq, at, type, record, hash)
         SELECT user_id, 5, at, 'STEPPED_UP', replace(record, '"seq" : 4', '"seq" : 5'), sha256('x')
           FROM session.auth_events WHERE user_id = $1 AND seq = 4`,
        [forged],
      ],
    );
    const found = {
      [changed ?? ""]: { seq: 2, problem: "HASH_DIFFERS" },
      [column ?? ""]: { seq: 2, problem: "COLUMNS_DIFFER" },
      [removed ?? ""]: { seq: 2, problem: "MISSING" },
      [swapped ?? ""]: { seq: 2, problem: "HASH_DIFFERS" },
      [cut ?? ""]: { seq: 4, problem: "TAIL_MISSING" },
      [emptied ?? ""]: { seq: 1, problem: "TAIL_MISSING" },
      [chainless ?? ""]: { seq: 4, problem: "HEAD_DIFFERS" },
      [forged ?? ""]: { seq: 5, problem: "HASH_DIFFERS" },
    };
    for (const [userId, firstBreak] of Object.entries(found)) {
      expect(await operate(system, "audit", "verify", "--user", userId)).toMatchObject({
        code: 1,
        value: { intact: false, firstBreak },
      });
    }
    expect(await operate(system, "audit", "verify", "--user", untouched ?? "")).toMatchObject({ code: 0 });
    await tamper([
      `INSERT INTO session.auth_events (user_id, seq, at, type, record, hash) VALUES ($1, 0, now(), 'STEPPED_UP', '{}', '')`,
      [untouched],
    ]);
    const early = { value: { firstBreak: { seq: 0, problem: "OUT_OF_ORDER" } } };
    expect(await operate(system, "audit", "verify", "--user", untouched ?? "")).toMatchObject(early);
    expect(await all()).toMatchObject({
      code: 1,
      value: {
        intact: false,
        complete: true,
        brokenUsers: 9,
        broken: expect.arrayContaining(Object.entries(found).map(([userId, each]) => ({ userId, ...each }))),
      },
      said: expect.stringContaining('"progress"'),
    });
  });

  it("who leaves before the end is not told that all is well", async () => {
    const leaving = { ...system, signal: AbortSignal.abort() };
    expect(await operate(leaving, "audit", "verify", "--all")).toMatchObject({ code: 3, value: { complete: false } });
  });

  it("is told how the command is used", async () => {
    for (const options of [[], ["--all", "--user", system.person().userId], ["--all", "--jwks", "x"]]) {
      expect(await operate(system, "audit", "verify", ...options)).toMatchObject({
        code: 2,
        said: expect.stringContaining("E_USAGE"),
      });
    }
    const missing = await operate(system, "audit", "verify", "--file", join(folder, "missing"));
    expect(missing).toMatchObject({ code: 2, said: expect.stringContaining("ENOENT") });
  });
});
