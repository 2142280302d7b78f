/**
 * Seals the messages on the bus: only this service can open them, only for the user they are meant for, and only for a
 * short time. The bus is not private: others may subscribe, and Postgres may spill its notifications to disk.
 */
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from "node:crypto";
import type { RelayedChange } from "./relay.ts";

export interface Seals {
  seal(userId: string, change: RelayedChange): string;
  /** Undefined for a message that is forged, another user's, or too old. */
  open(userId: string, sealed: string): RelayedChange | undefined;
}

/** How long a sealed message may be in transit, in milliseconds. */
export const SEAL_LIFE_MS = 30_000;
const VERSION = 1;
const HEAD_BYTES = 1 + 8;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** AES-256-GCM under a key for each user (HKDF, RFC 5869) from `secret`, the same in every replica. `now` in milliseconds since the epoch. */
export function createSeals(secret: Buffer, now: () => number): Seals {
  const keyOf = (userId: string): Buffer => Buffer.from(hkdfSync("sha256", secret, "", `relay ${userId}`, 32));

  return {
    seal(userId, change) {
      const head = Buffer.alloc(HEAD_BYTES);
      head.writeUInt8(VERSION, 0);
      head.writeBigUInt64BE(BigInt(now()), 1);
      const nonce = randomBytes(NONCE_BYTES);
      const cipher = createCipheriv("aes-256-gcm", keyOf(userId), nonce).setAAD(head);
      const sealed = Buffer.concat([cipher.update(JSON.stringify(change)), cipher.final()]);
      return Buffer.concat([head, nonce, cipher.getAuthTag(), sealed]).toString("base64url");
    },
    open(userId, text) {
      const bytes = Buffer.from(text, "base64url");
      if (bytes.length < HEAD_BYTES + NONCE_BYTES + TAG_BYTES || bytes.readUInt8(0) !== VERSION) return undefined;
      // Tolerates clock differences between processes.
      if (Math.abs(now() - Number(bytes.readBigUInt64BE(1))) > SEAL_LIFE_MS) return undefined;
      const [nonceAt, tagAt, sealedAt] = [HEAD_BYTES, HEAD_BYTES + NONCE_BYTES, HEAD_BYTES + NONCE_BYTES + TAG_BYTES];
      const decipher = createDecipheriv("aes-256-gcm", keyOf(userId), bytes.subarray(nonceAt, tagAt), {
        authTagLength: TAG_BYTES,
      })
        .setAAD(bytes.subarray(0, HEAD_BYTES))
        .setAuthTag(bytes.subarray(tagAt, sealedAt));
      try {
        const opened = Buffer.concat([decipher.update(bytes.subarray(sealedAt)), decipher.final()]);
        const change: RelayedChange = JSON.parse(opened.toString());
        return change;
      } catch {
        return undefined;
      }
    },
  };
}
