/**
 * Keys that sign access tokens. They lie in the database sealed under the master key: a copy of the rows signs nothing.
 * Their life (next, active, retiring, retired) is in the table; this makes, seals and opens them.
 */
import { createCipheriv, createDecipheriv, hkdfSync } from "node:crypto";
import { generateKey, type Jwk } from "@continuo/access";
import type { JWK } from "jose";
import { z } from "zod";

/** A key ready to sign. */
export interface SigningKey {
  readonly kid: string;
  readonly privateJwk: Jwk;
}

/** A row of `signing_keys`. */
export interface SealedSigningKey {
  readonly kid: string;
  readonly publicJwk: JWK;
  /** IV 12 ‖ AES-256-GCM ciphertext of the private JWK ‖ tag 16; the kid is authenticated with it. */
  readonly sealedPrivateKey: Uint8Array;
}

export interface SigningKeyStore {
  /** The active key; made by `create` when there is none, one at a time for all replicas, so that all agree. */
  activeOr(create: () => Promise<SealedSigningKey>, now: Date): Promise<SealedSigningKey>;
  /** Public keys that a verifier must know: next, active and retiring. */
  published(): Promise<JWK[]>;
}

const IV_BYTES = 12;
const TAG_BYTES = 16;
const PrivateJwk = z.looseObject({ kty: z.string(), kid: z.string() });

function sealingKey(masterKey: Buffer): Buffer {
  return Buffer.from(hkdfSync("sha256", masterKey, "", "continuo signing key seal 1", 32));
}

/** A new ES256 key, sealed. `randomBytes` gives the IV. */
export async function createSealedKey(
  masterKey: Buffer,
  randomBytes: (count: number) => Buffer,
): Promise<SealedSigningKey> {
  const { publicJwk, privateJwk } = await generateKey("ES256");
  const iv = randomBytes(IV_BYTES);
  const cipher = createCipheriv("aes-256-gcm", sealingKey(masterKey), iv).setAAD(Buffer.from(publicJwk.kid));
  const sealed = [iv, cipher.update(JSON.stringify(privateJwk)), cipher.final(), cipher.getAuthTag()];
  return { kid: publicJwk.kid, publicJwk: { ...publicJwk, use: "sig" }, sealedPrivateKey: Buffer.concat(sealed) };
}

/** Opens a key. Throws an Error that names MASTER_KEY when it was sealed under another one, or tampered with. */
export function openSealedKey(sealed: SealedSigningKey, masterKey: Buffer): SigningKey {
  const bytes = Buffer.from(sealed.sealedPrivateKey);
  try {
    const decipher = createDecipheriv("aes-256-gcm", sealingKey(masterKey), bytes.subarray(0, IV_BYTES), {
      authTagLength: TAG_BYTES,
    })
      .setAAD(Buffer.from(sealed.kid))
      .setAuthTag(bytes.subarray(-TAG_BYTES));
    const text = Buffer.concat([decipher.update(bytes.subarray(IV_BYTES, -TAG_BYTES)), decipher.final()]);
    return { kid: sealed.kid, privateJwk: PrivateJwk.parse(JSON.parse(text.toString())) };
  } catch (cause) {
    throw new Error(
      `MASTER_KEY does not open the signing key ${sealed.kid}: it is not the one the database was set up with`,
      {
        cause,
      },
    );
  }
}

/** The key to sign with: the active one, made on the very first start. */
export async function loadSigningKey(options: {
  store: SigningKeyStore;
  masterKey: Buffer;
  randomBytes: (count: number) => Buffer;
  now: Date;
}): Promise<SigningKey> {
  const { store, masterKey, randomBytes, now } = options;
  const sealed = await store.activeOr(() => createSealedKey(masterKey, randomBytes), now);
  return openSealedKey(sealed, masterKey);
}
