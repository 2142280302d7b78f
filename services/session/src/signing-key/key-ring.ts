/**
 * The key that this process signs with, as all replicas agree on it: read from the database every few seconds while it
 * is used. It decides nothing: which key is active, and since when it has been published, is the rotation's.
 */
import { createSealedKey, openSealedKey, type SigningKey, type SigningKeyStore } from "./signing-key.ts";
import type { Seal } from "../master-key/seal.ts";

export interface KeyRing {
  /** The active key, as it was at most `KEY_FRESH_MS` ago; made on the very first start. Throws SealBroken. */
  current(): Promise<SigningKey>;
  /** It may have changed: the next signature looks again. */
  forget(): void;
}

/** For so long a process may go on signing with a key that is not the active one any more. Milliseconds. */
export const KEY_FRESH_MS = 5_000;

/** Reads nothing yet. `monotonic` is milliseconds of a clock that never goes back. */
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
