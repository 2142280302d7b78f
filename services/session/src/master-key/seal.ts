/**
 * Secrets at rest, sealed under the master key: AES-256-GCM with a key per purpose, bound to the row that stores them.
 * Not for secrets that are only compared (an application's secret, a password): those are stored as hashes.
 */
import { createCipheriv, createDecipheriv, hkdfSync } from "node:crypto";

export interface Seal {
  /** IV 12 ‖ ciphertext ‖ tag 16. `boundTo` names the row; the bytes cannot be opened for any other. */
  close(plain: Buffer, boundTo: string): Buffer;
  /** Undefined when it was sealed for another purpose or row, under none of the master keys, or tampered with. */
  open(sealed: Uint8Array, boundTo: string): Buffer | undefined;
}

const IV_BYTES = 12;
const TAG_BYTES = 16;

/** `masterKeys` has the current key first: only that one closes, all of them open. `randomBytes` provides the IVs. */
export function createSeal(options: {
  masterKeys: readonly [Buffer, ...Buffer[]];
  purpose: string;
  randomBytes: (count: number) => Buffer;
}): Seal {
  const { masterKeys, purpose, randomBytes } = options;
  const keyOf = (masterKey: Buffer): Buffer => Buffer.from(hkdfSync("sha256", masterKey, "", purpose, 32));
  const current = keyOf(masterKeys[0]);
  const all = masterKeys.map(keyOf);

  return {
    close(plain, boundTo) {
      const iv = randomBytes(IV_BYTES);
      const cipher = createCipheriv("aes-256-gcm", current, iv).setAAD(Buffer.from(boundTo));
      return Buffer.concat([iv, cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
    },

    open(sealed, boundTo) {
      const bytes = Buffer.from(sealed);
      if (bytes.length < IV_BYTES + TAG_BYTES) return undefined;
      for (const key of all) {
        const decipher = createDecipheriv("aes-256-gcm", key, bytes.subarray(0, IV_BYTES), { authTagLength: TAG_BYTES })
          .setAAD(Buffer.from(boundTo))
          .setAuthTag(bytes.subarray(-TAG_BYTES));
        try {
          return Buffer.concat([decipher.update(bytes.subarray(IV_BYTES, -TAG_BYTES)), decipher.final()]);
        } catch {
          // Not this master key.
        }
      }
      return undefined;
    },
  };
}
