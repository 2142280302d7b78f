import { randomBytes } from "node:crypto";
import { createTestDatabase, type TestDatabase } from "@continuo/testkit";
import { Pool } from "pg";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { createSeal } from "../master-key/seal.ts";
import { LONGEST_ACCESS_TOKEN_SECONDS } from "../policy/policy.ts";
import { createKeyRing, KEY_FRESH_MS } from "./key-ring.ts";
import { createKeyRotation, rotationTimes, type KeyRotation } from "./key-rotation.ts";
import { createSealedKey, openSealedKey, SIGNING_KEY_SEAL } from "./signing-key.ts";
import { createSigningKeyStore } from "./signing-key.store.ts";

const purpose = SIGNING_KEY_SEAL;
const seal = createSeal({ masterKeys: [randomBytes(32)], purpose, randomBytes });
const times = rotationTimes(90);

let database: TestDatabase;
let pool: Pool;
let at: Date;
const later = (ms: number): void => void (at = new Date(at.getTime() + ms));

beforeAll(async () => {
  database = await createTestDatabase();
  pool = new Pool({ connectionString: database.url.session });
});
afterAll(async () => {
  await pool.end();
  await database[Symbol.asyncDispose]();
});
beforeEach(async () => {
  await pool.query("DELETE FROM session.signing_keys");
  at = new Date("2026-01-01T00:00:00Z");
});

const rotationWith = (announced: Date[] = []): KeyRotation =>
  createKeyRotation({
    store: createSigningKeyStore(pool),
    seal,
    times,
    announce: async (changedAt) => void announced.push(changedAt),
    now: () => at,
  });
const ringWith = (): ReturnType<typeof createKeyRing> =>
  createKeyRing({ store: createSigningKeyStore(pool), seal, now: () => at });
const states = async (): Promise<string[]> => (await createSigningKeyStore(pool).list()).map(({ state }) => state);
const publishedKids = async (): Promise<unknown[]> =>
  (await createSigningKeyStore(pool).published()).map(({ kid }) => kid);
const privateBytes = async (kid: string): Promise<number | undefined> => {
  const { rows } = await pool.query<{ bytes: number }>(
    "SELECT length(sealed_private_key) AS bytes FROM session.signing_keys WHERE kid = $1",
    [kid],
  );
  return rows[0]?.bytes;
};

describe("the signing key", () => {
  it("is one for all replicas, also when they start at once on an empty database", async () => {
    const keys = await Promise.all(Array.from({ length: 8 }, () => ringWith().current()));
    expect(new Set(keys.map(({ kid }) => kid)).size).toBe(1);
    const published = await createSigningKeyStore(pool).published();
    expect(published).toEqual([expect.objectContaining({ kid: keys[0]?.kid, alg: "ES256", use: "sig" })]);
    expect(JSON.stringify(published)).not.toContain('"d"');
    expect(await states()).toEqual(["ACTIVE"]);
  });

  it("does not open under another master key, or under another kid", async () => {
    const sealed = await createSealedKey(seal);
    expect(openSealedKey(sealed, seal).kid).toBe(sealed.kid);
    const other = createSeal({ masterKeys: [randomBytes(32)], purpose, randomBytes });
    expect(() => openSealedKey(sealed, other)).toThrow("MASTER_KEY does not open");
    expect(() => openSealedKey({ ...sealed, kid: "other" }, seal)).toThrow("MASTER_KEY does not open");
  });
});

describe("a rotation", () => {
  it("publishes, waits until every verifier must know the key, signs with it, and takes the former one back", async () => {
    const { kid: former } = await ringWith().current();
    const announced: Date[] = [];
    const rotation = rotationWith(announced);
    expect(await rotation.rotate()).toBe(true);
    expect((await states()).sort()).toEqual(["ACTIVE", "NEXT"]);
    later(times.publishedMs - 1);
    expect(await rotation.turn()).toEqual([]);
    // Nor by a direct call of the store, as from a process that judged by another next key.
    expect(await createSigningKeyStore(pool).activate(new Date(at.getTime() - times.publishedMs), at)).toBe(false);
    expect((await states()).sort()).toEqual(["ACTIVE", "NEXT"]);
    expect((await ringWith().current()).kid).toBe(former);
    later(1);
    expect(await rotation.turn()).toEqual(["ACTIVATE_NEXT"]);
    expect((await states()).sort()).toEqual(["ACTIVE", "RETIRING"]);
    expect((await ringWith().current()).kid).not.toBe(former);
    expect(await publishedKids()).toHaveLength(2);
    later(times.retiringMs - 1);
    expect(await rotation.turn()).toEqual([]);
    expect(await privateBytes(former)).toBeGreaterThan(0);
    later(1);
    expect(await rotation.turn()).toEqual(["RETIRE_FORMER"]);
    expect(await publishedKids()).not.toContain(former);
    expect(await privateBytes(former)).toBe(0);
    expect(announced).toHaveLength(3);
  });

  it("begins by itself when the key is old enough, and never when the calendar is off", async () => {
    await ringWith().current();
    later((times.rotateAfterMs ?? 0) - 1);
    expect(await rotationWith().turn()).toEqual([]);
    later(1);
    const never = createKeyRotation({
      store: createSigningKeyStore(pool),
      seal,
      times: rotationTimes(0),
      announce: async () => undefined,
      now: () => at,
    });
    expect(await never.turn()).toEqual([]);
    expect(await rotationWith().turn()).toEqual(["PUBLISH_NEXT"]);
  });

  it("takes back the former key alone, not the one that retired after it", async () => {
    const { kid: first } = await ringWith().current();
    for (const _ of ["first", "second"]) {
      await rotationWith().rotate();
      later(times.publishedMs);
      await rotationWith().turn();
    }
    expect((await states()).sort()).toEqual(["ACTIVE", "RETIRING", "RETIRING"]);
    later(times.retiringMs - times.publishedMs);
    expect(await rotationWith().turn()).toEqual(["RETIRE_FORMER"]);
    expect((await states()).sort()).toEqual(["ACTIVE", "RETIRED", "RETIRING"]);
    expect(await publishedKids()).not.toContain(first);
  });

  it("makes one key and one change, however many begin it and turn it at once", async () => {
    await ringWith().current();
    const begun = await Promise.all(Array.from({ length: 8 }, () => rotationWith().rotate()));
    expect(begun.filter(Boolean)).toHaveLength(1);
    for (const wait of [times.publishedMs, times.retiringMs]) {
      later(wait);
      const turns = await Promise.all(Array.from({ length: 8 }, () => rotationWith().turn()));
      expect(turns.flat()).toHaveLength(1);
    }
    expect((await states()).sort()).toEqual(["ACTIVE", "RETIRED"]);
  });
});

describe("a key ring", () => {
  it("holds its key for a few seconds, and follows a rotation after that without a restart", async () => {
    let monotonic = 0;
    const store = createSigningKeyStore(pool);
    const ring = createKeyRing({ store, seal, now: () => at, monotonic: () => monotonic });
    const former = await ring.current();
    await rotationWith().rotate();
    later(times.publishedMs);
    await rotationWith().turn();
    expect(await ring.current()).toBe(former);
    monotonic += KEY_FRESH_MS;
    expect((await ring.current()).kid).not.toBe(former.kid);
    // The last token that it signs expires before the key is retired.
    expect(KEY_FRESH_MS + LONGEST_ACCESS_TOKEN_SECONDS * 1_000).toBeLessThan(times.retiringMs);
  });

  it("does not wait for a look that began before it heard so", async () => {
    const [former, next] = [await createSealedKey(seal), await createSealedKey(seal)];
    let time = 0;
    const answer = Promise.withResolvers<void>();
    const looks = [answer.promise.then(() => former), Promise.resolve(next)];
    const ring = createKeyRing({
      store: { activeOr: async () => looks.shift() ?? next },
      seal,
      now: () => at,
      monotonic: () => (time += 1),
    });
    const early = ring.current();
    ring.forget();
    const late = ring.current();
    answer.resolve();
    await early;
    expect((await late).kid).toBe(next.kid);
    expect((await ring.current()).kid).toBe(next.kid);
  });

  it("looks at once when it hears that something changed", async () => {
    const ring = ringWith();
    const former = await ring.current();
    await rotationWith().retireNow(former.kid);
    ring.forget();
    expect((await ring.current()).kid).not.toBe(former.kid);
  });
});

describe("a compromised key", () => {
  it("is out of the published set at once, with a new one in its place", async () => {
    const { kid } = await ringWith().current();
    await rotationWith().retireNow(kid);
    expect(await publishedKids()).not.toContain(kid);
    expect(await privateBytes(kid)).toBe(0);
    expect((await states()).sort()).toEqual(["ACTIVE", "RETIRED"]);
    await expect(rotationWith().retireNow(kid)).rejects.toMatchObject({ reason: "KEY_NOT_FOUND" });
  });

  it("makes way for the next one, if that is published", async () => {
    const { kid } = await ringWith().current();
    await rotationWith().rotate();
    const next = (await publishedKids()).find((each) => each !== kid);
    await rotationWith().retireNow(kid);
    expect((await ringWith().current()).kid).toBe(next);
  });

  it("leaves exactly one active key, whatever else turns at that moment", async () => {
    for (let round = 0; round < 10; round += 1) {
      const { kid } = await ringWith().current();
      await rotationWith().rotate();
      later(times.publishedMs);
      const next = (await createSigningKeyStore(pool).list()).find(({ state }) => state === "NEXT");
      const victim = round % 2 === 0 || next === undefined ? kid : next.kid;
      await Promise.all([rotationWith().retireNow(victim), rotationWith().turn(), rotationWith().turn()]);
      expect((await states()).filter((state) => state === "ACTIVE")).toHaveLength(1);
      expect(await publishedKids()).not.toContain(victim);
    }
  });
});
