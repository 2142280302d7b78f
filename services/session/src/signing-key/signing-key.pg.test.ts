import { randomBytes } from "node:crypto";
import { createTestDatabase, type TestDatabase } from "@continuo/testkit";
import { Pool } from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createSealedKey, loadSigningKey, openSealedKey } from "./signing-key.ts";
import { createSigningKeyStore } from "./signing-key.store.ts";

let database: TestDatabase;
let pool: Pool;
beforeAll(async () => {
  database = await createTestDatabase();
  pool = new Pool({ connectionString: database.url.session });
});
afterAll(async () => {
  await pool.end();
  await database[Symbol.asyncDispose]();
});

const masterKey = randomBytes(32);

describe("the signing key", () => {
  it("is one for all replicas, also when they start at once on an empty database", async () => {
    const store = createSigningKeyStore(pool);
    const keys = await Promise.all(
      Array.from({ length: 8 }, () => loadSigningKey({ store, masterKey, randomBytes, now: new Date() })),
    );
    expect(new Set(keys.map(({ kid }) => kid)).size).toBe(1);
    expect(await store.published()).toEqual([expect.objectContaining({ kid: keys[0]?.kid, alg: "ES256", use: "sig" })]);
    expect(JSON.stringify(await store.published())).not.toContain('"d"');
    const { rows } = await pool.query<{ sealed: Buffer }>(
      "SELECT sealed_private_key AS sealed FROM session.signing_keys",
    );
    expect(rows).toHaveLength(1);
    expect(rows[0]?.sealed.toString("latin1")).not.toContain(keys[0]?.privateJwk["d"]);
  });

  it("does not open under another master key, under another kid, or with a bit changed", async () => {
    const sealed = await createSealedKey(masterKey, randomBytes);
    expect(openSealedKey(sealed, masterKey).kid).toBe(sealed.kid);
    const flipped = Buffer.from(sealed.sealedPrivateKey);
    flipped.writeUInt8(flipped.readUInt8(20) ^ 1, 20);
    expect(() => openSealedKey(sealed, randomBytes(32))).toThrow("MASTER_KEY does not open");
    expect(() => openSealedKey({ ...sealed, kid: "other" }, masterKey)).toThrow("MASTER_KEY does not open");
    expect(() => openSealedKey({ ...sealed, sealedPrivateKey: flipped }, masterKey)).toThrow(
      "MASTER_KEY does not open",
    );
  });
});
