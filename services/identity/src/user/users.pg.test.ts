/** What an operator does with users, on a real Postgres: what is committed, what is posted, and what the command line says. */
import { createLogger } from "@continuo/process";
import { outboxTopic, startPokes } from "@continuo/signals";
import { createTestDatabase } from "@continuo/testkit";
import { PassThrough } from "node:stream";
import { text } from "node:stream/consumers";
import { Pool } from "pg";
import { v7 as newId } from "uuid";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { runOperator } from "../operator-app.ts";
import { createPasswordStore } from "../password/password.store.ts";

const opened = new AsyncDisposableStack();
let url: string;
let pool: Pool;
beforeAll(async () => {
  const database = opened.use(await createTestDatabase());
  url = database.url.identity;
  pool = opened.adopt(new Pool({ connectionString: url }), (each) => each.end());
});
afterAll(() => opened.disposeAsync());

async function users(...argv: string[]): Promise<{ code: number; value: unknown; said: string }> {
  const [stdin, stdout, stderr] = [new PassThrough(), new PassThrough(), new PassThrough()];
  const code = await runOperator(["users", ...argv, "--json"], {
    source: async () => ({ DATABASE_URL: url, LOG_LEVEL: "silent" }),
    streams: { stdin, stdout, stderr },
    now: () => new Date("2026-11-29T20:00:00.000Z"),
  });
  stdout.end();
  stderr.end();
  const [out, said] = await Promise.all([text(stdout), text(stderr)]);
  return { code, value: out === "" ? undefined : JSON.parse(out), said };
}

async function person(): Promise<{ userId: string; authenticatorId: string; email: string }> {
  const userId = newId();
  const made = { userId, authenticatorId: newId(), email: `${userId}@example.com` };
  await createPasswordStore(pool).createPerson({ ...made, secret: "$argon2id$one", at: new Date() });
  return made;
}

/** What was posted about a user: topic, epoch and reason, and the delays in seconds. */
async function posted(userId: string): Promise<unknown[]> {
  const { rows } = await pool.query(
    `SELECT topic, payload ->> 'epoch' AS epoch, payload ->> 'because' AS because,
            array_agg(extract(epoch FROM due_at - created_at)::int ORDER BY due_at) AS after
       FROM identity.outbox WHERE payload ->> 'userId' = $1 GROUP BY 1, 2, 3 ORDER BY 1, 2, 3`,
    [userId],
  );
  return rows;
}
const REPEATED = [0, 60, 3_600, 86_400];

describe("an operator", () => {
  test("disables a user: nobody signs in as them, and it is said at once and again, for queues that lose it", async () => {
    const { userId, email } = await person();
    await using pokes = await startPokes({ databaseUrl: url, logger: createLogger({ name: "test", level: "silent" }) });
    const onPoke = vi.fn<() => void>();
    await pokes.subscribe(outboxTopic("identity"), { onPoke, onGap: () => undefined });
    expect(await users("disable", "--user", email.toUpperCase(), "--yes")).toMatchObject({
      code: 0,
      value: { id: userId, email, disabledAt: "2026-11-29T20:00:00.000Z" },
    });
    expect(await createPasswordStore(pool).startAttempt(email, null)).toBeNull();
    expect(await posted(userId)).toEqual([
      { topic: "apply-user-events", epoch: "1", because: "DISABLED", after: REPEATED },
    ]);
    await vi.waitFor(() => expect(onPoke).toHaveBeenCalled(), 60_000);
  });

  test("told again, says it again: of one who is disabled already, under the same epoch and since the same moment", async () => {
    const { userId } = await person();
    await users("disable", "--user", userId, "--yes");
    await pool.query("UPDATE identity.users SET disabled_at = '2026-11-01T00:00Z' WHERE id = $1", [userId]);
    for (const times of [2, 3, 4]) {
      expect(await users("disable", "--user", userId, "--yes")).toMatchObject({
        value: { disabledAt: "2026-11-01T00:00:00.000Z" },
      });
      expect(await posted(userId)).toMatchObject([{ epoch: "1", after: { length: 4 * times } }]);
    }
  });

  test("enables a user again, whose former sign-ins are void from then on", async () => {
    const { userId, email } = await person();
    await users("disable", "--user", userId, "--yes");
    expect(await users("enable", "--user", userId)).toMatchObject({ code: 0, value: { disabledAt: null } });
    expect(await createPasswordStore(pool).startAttempt(email, null)).toMatchObject({ userId, epoch: 2 });
    await users("disable", "--user", userId, "--yes");
    expect(await posted(userId)).toMatchObject([
      { epoch: "1", because: "DISABLED" },
      { epoch: "2", because: "ENABLED", after: REPEATED },
      { epoch: "3", because: "DISABLED" },
    ]);
  });

  test("unlocks a password that strangers have locked, which a dry run does not", async () => {
    const { userId, email } = await person();
    const store = createPasswordStore(pool);
    while ((await store.startAttempt(email, null)) !== null);
    for (const argv of [["show"], ["unlock", "--dry-run"]])
      expect(await users(...argv, "--user", email)).toMatchObject({ code: 0, value: { failures: 50 } });
    expect(await store.startAttempt(email, null)).toBeNull();
    expect(await users("unlock", "--user", userId)).toMatchObject({ code: 0, value: { id: userId, failures: 0 } });
    expect(await store.startAttempt(email, null)).toMatchObject({ userId });
    expect(await posted(userId)).toEqual([]);
  });

  test("enables one who is not disabled, which changes nothing, and says so again of one who was", async () => {
    const [never, once] = [await person(), await person()];
    await users("disable", "--user", once.userId, "--yes");
    for (const { userId } of [never, once, once]) await users("enable", "--user", userId);
    expect(await posted(never.userId)).toEqual([]);
    const said = await posted(once.userId);
    expect(said).toMatchObject([{ epoch: "1" }, { epoch: "2", because: "ENABLED", after: { length: 8 } }]);
  });

  test("deletes a user with all that they sign in by; the address is free, and whoever takes it is somebody else", async () => {
    const { userId, email } = await person();
    await users("disable", "--user", userId, "--yes");
    expect(await users("delete", "--user", email, "--yes")).toMatchObject({
      code: 0,
      value: { id: userId, deleted: true },
    });
    const { rows } = await pool.query(
      "SELECT id FROM identity.users WHERE id = $1 UNION ALL SELECT id FROM identity.authenticators WHERE user_id = $1",
      [userId],
    );
    expect(rows).toEqual([]);
    expect(await posted(userId)).toEqual([
      { topic: "apply-user-events", epoch: "1", because: "DISABLED", after: REPEATED },
      { topic: "apply-user-events", epoch: "2", because: "DELETED", after: REPEATED },
      { topic: "erase-user-state", epoch: "2", because: "DELETED", after: REPEATED },
    ]);
    await createPasswordStore(pool).createPerson({
      userId: newId(),
      authenticatorId: newId(),
      email,
      secret: "$argon2id$two",
      at: new Date(),
    });
    expect((await createPasswordStore(pool).startAttempt(email, null))?.userId).not.toBe(userId);
  });

  test.each(["disable", "delete"])("changes nothing by a dry run of %s, or without a yes", async (verb) => {
    const { userId, email } = await person();
    expect(await users(verb, "--user", userId, "--dry-run")).toMatchObject({ code: 0, value: { email, dryRun: true } });
    expect(await users(verb, "--user", userId)).toMatchObject({ code: 3, value: undefined });
    expect(await users("show", "--user", userId)).toMatchObject({ code: 0, value: { email, disabledAt: null } });
    expect(await posted(userId)).toEqual([]);
  });

  test("is told when there is no such user, and when what was named can be none", async () => {
    for (const verb of ["show", "unlock", "disable", "enable", "delete"])
      expect(await users(verb, "--user", newId(), "--yes")).toMatchObject({
        code: 1,
        said: expect.stringContaining("USER_NOT_FOUND"),
      });
    expect(await users("disable", "--user", "ada", "--yes")).toMatchObject({ code: 2 });
  });
});

test("a password that was right in the very moment in which its owner was disabled or deleted gives no sign-in", async () => {
  const store = createPasswordStore(pool);
  for (const verb of ["disable", "delete"]) {
    const { userId, email } = await person();
    const attempt = await store.startAttempt(email, null);
    await users(verb, "--user", userId, "--yes");
    expect(attempt && (await store.succeed(attempt, new Date()))).toBe(false);
  }
});
