/**
 * The key that this process signs with, on which all replicas agree: read from the database every few seconds while in
 * use. It decides nothing; the rotation decides which key is active and when it was published.
 */
import { createSealedKey, openSealedKey, type SigningKey, type SigningKeyStore } from "./signing-key.ts";
import type { Seal } from "../master-key/seal.ts";

export interface KeyRing {
  /** The active key, at most `KEY_FRESH_MS` old; created on the very first start. Throws SetupError E_MASTER_KEY. */
  current(): Promise<SigningKey>;
  /** Drops the cached key, so that the next signature reads it again. */
  forget(): void;
}

/** How long a process may keep signing with a key that is no longer active. Milliseconds. */
export const KEY_FRESH_MS = 5_000;

/** Reads nothing until first used. `monotonic` returns the milliseconds of a monotonic clock. */
export function createKeyRing(options: {
  store: Pick<SigningKeyStore, "activeOr">;
  seal: Seal;
  now: () => Date;
  monotonic?: () => number;
}): KeyRing {
  const { store, seal, now, monotonic = () => performance.now() } = options;
  let held: { readonly key: SigningKey; readonly readAt: number } | undefined;
  let reading: { readonly key: Promise<SigningKey>; readonly readAt: number } | undefined;
  let changedAt = Number.NEGATIVE_INFINITY;
  const isFresh = ({ readAt }: { readonly readAt: number }): boolean =>
    readAt >= changedAt && monotonic() - readAt < KEY_FRESH_MS;

  async function read(readAt: number): Promise<SigningKey> {
    const sealed = await store.activeOr(() => createSealedKey(seal), now());
    const key = held?.key.kid === sealed.kid ? held.key : openSealedKey(sealed, seal);
    held = { key, readAt };
    return key;
  }

  return {
    async current() {
      if (held && isFresh(held)) return held.key;
      if (reading && isFresh(reading)) return reading.key;
      const readAt = monotonic();
      const mine = { readAt, key: read(readAt) };
      reading = mine;
      try {
        return await mine.key;
      } finally {
        if (reading === mine) reading = undefined;
      }
    },
    forget() {
      changedAt = monotonic();
    },
  };
}
