import { createTestDatabase, type TestDatabase } from "@continuo/testkit";
import { Pool } from "pg";
import { v7 as newId } from "uuid";
import { afterAll, beforeAll, expect, test } from "vitest";
import { MAX_FAILURES, type PasswordStore } from "./password.ts";
import { createPasswordStore } from "./password.store.ts";

let database: TestDatabase;
let pool: Pool;
let store: PasswordStore;

beforeAll(async () => {
  database = await createTestDatabase();
  pool = new Pool({ connectionString: database.url.identity, max: 10 });
  store = createPasswordStore(pool);
});
afterAll(async () => {
  await pool.end();
  await database[Symbol.asyncDispose]();
});

const person = (email: string, secret = "$argon2id$one") => ({
  userId: newId(),
  authenticatorId: newId(),
  email,
  secret,
  at: new Date("2026-11-24T06:00:00.000Z"),
});

const failures = async (authenticatorId: string): Promise<unknown> =>
  (await pool.query("SELECT failures FROM identity.authenticators WHERE id = $1", [authenticatorId])).rows[0]?.failures;

const inParallel = async <Result>(count: number, work: (index: number) => Promise<Result>): Promise<Result[]> =>
  Promise.all(Array.from({ length: count }, async (_, index) => work(index)));

test("of many sign-ups of one address at once exactly one makes a person, with exactly one password", async () => {
  const people = await inParallel(20, async (index) => {
    const one = person("race@example.com", `$argon2id$${index}`);
    await store.createPerson(one);
    return one;
  });
  const { rows } = await pool.query<{ id: string; secret: string }>(
    "SELECT u.id, a.secret FROM identity.users u JOIN identity.authenticators a ON a.user_id = u.id WHERE u.email = $1",
    ["race@example.com"],
  );
  expect(rows).toHaveLength(1);
  expect(people.find(({ userId }) => userId === rows[0]?.id)?.secret).toBe(rows[0]?.secret);
});

test("signing up again changes neither the person nor their password", async () => {
  const first = person("again@example.com");
  await store.createPerson(first);
  await store.createPerson(person("again@example.com", "$argon2id$of-somebody-else"));
  expect(await store.startAttempt("again@example.com", null)).toEqual({
    authenticatorId: first.authenticatorId,
    userId: first.userId,
    secret: first.secret,
    epoch: 0,
  });
});

test("strangers use up half of a hundred failures in a row, also when guesses arrive together; who is signed in has the others", async () => {
  const victim = person("locked@example.com");
  await store.createPerson(victim);
  const tries = async (signedInAs: string | null): Promise<number> => {
    const attempts = await inParallel(MAX_FAILURES.ofAll, async () => store.startAttempt(victim.email, signedInAs));
    return attempts.filter((attempt) => attempt !== null).length;
  };
  expect(await tries(null)).toBe(MAX_FAILURES.ofStrangers);
  expect(await tries(newId())).toBe(0);
  expect(await failures(victim.authenticatorId)).toBe(MAX_FAILURES.ofStrangers);
  expect(await tries(victim.userId)).toBe(MAX_FAILURES.ofAll - MAX_FAILURES.ofStrangers);
  expect(await store.startAttempt(victim.email, victim.userId)).toBeNull();
  expect(await failures(victim.authenticatorId)).toBe(MAX_FAILURES.ofAll);
  expect(MAX_FAILURES.ofAll).toBeLessThanOrEqual(100);
});

test("a success on the last attempt starts the count again, also for strangers", async () => {
  const owner = person("lucky@example.com");
  await store.createPerson(owner);
  await inParallel(MAX_FAILURES.ofAll, async () => store.startAttempt(owner.email, owner.userId));
  const at = new Date("2026-11-24T07:00:00.000Z");
  const attempt = { ...owner, epoch: 0 };
  expect(await store.succeed(attempt, at)).toBe(true);
  expect(await store.succeed(attempt, new Date("2026-11-24T06:30:00.000Z"))).toBe(true);
  expect(await failures(owner.authenticatorId)).toBe(0);
  expect(await store.startAttempt(owner.email, null)).not.toBeNull();
  const { rows } = await pool.query("SELECT last_used_at FROM identity.authenticators WHERE id = $1", [
    owner.authenticatorId,
  ]);
  expect(rows[0]).toEqual({ last_used_at: at });
});

test("nobody signs in as somebody unknown, disabled or with a revoked password", async () => {
  const [disabled, revoked] = [person("disabled@example.com"), person("revoked@example.com")];
  await store.createPerson(disabled);
  await store.createPerson(revoked);
  await pool.query("UPDATE identity.users SET disabled_at = now() WHERE id = $1", [disabled.userId]);
  const begun = await store.startAttempt(revoked.email, null);
  await pool.query("UPDATE identity.authenticators SET revoked_at = now() WHERE id = $1", [revoked.authenticatorId]);
  if (begun === null) throw new Error("nobody is there");
  expect(await store.succeed(begun, new Date())).toBe(false);
  expect(await store.replace(begun, "$argon2id$new", new Date())).toBe(false);
  for (const email of ["unknown@example.com", disabled.email, revoked.email]) {
    expect(await store.startAttempt(email, null)).toBeNull();
  }
  expect(await failures(disabled.authenticatorId)).toBe(0);
});

test("of two who change a password at once one does, and who tried by the former one is too late", async () => {
  const owner = person("changed@example.com", "$argon2id$old");
  await store.createPerson(owner);
  const attempt = await store.startAttempt(owner.email, null);
  if (attempt === null) throw new Error("nobody is there");
  const at = new Date("2026-11-24T07:00:00.000Z");
  const outcomes = await inParallel(10, async (index) => store.replace(attempt, `$argon2id$${index}`, at));
  expect(outcomes.filter(Boolean)).toHaveLength(1);
  expect(await failures(owner.authenticatorId)).toBe(0);
  expect(await store.startAttempt(owner.email, null)).toMatchObject({
    secret: `$argon2id$${outcomes.indexOf(true)}`,
    epoch: 1,
  });
  expect(await store.succeed(attempt, at)).toBe(false);
  const { rows } = await pool.query(
    "SELECT payload FROM identity.outbox WHERE payload ->> 'userId' = $1 AND due_at = created_at",
    [owner.userId],
  );
  expect(rows).toEqual([{ payload: { userId: owner.userId, epoch: 1, because: "PASSWORD_CHANGED" } }]);
});

test("a hash is renewed only if it is still the one that was verified", async () => {
  const owner = person("renewed@example.com", "$argon2id$old");
  await store.createPerson(owner);
  await store.rehash(owner.authenticatorId, "$argon2id$old", "$argon2id$new");
  await store.rehash(owner.authenticatorId, "$argon2id$old", "$argon2id$late");
  expect((await store.startAttempt(owner.email, null))?.secret).toBe("$argon2id$new");
});
