/**
 * Rotation of the signing key: publish the next key, wait until every verifier's cached key set must contain it, sign
 * with it, and retire the former key when nothing that it signed can still be valid. So no verifier ever meets an
 * unknown key. Time makes the steps due; the first process to notice takes them.
 */
import { AppError } from "@continuo/errors";
import type { Seal } from "../master-key/seal.ts";
import { LONGEST_ACCESS_TOKEN_SECONDS } from "../policy/policy.ts";
import { createSealedKey, type KeyRecord, type SigningKeyStore } from "./signing-key.ts";

/** How long a verifier may cache the published keys. */
export const KEYS_MAX_AGE_SECONDS = 300;

/** How long each stage lasts. Milliseconds. */
export interface RotationTimes {
  /** From publication until it may sign. */
  readonly publishedMs: number;
  /** From its last signature until nothing that it signed is valid any more. */
  readonly retiringMs: number;
  /** How long a key is active before the next one is published automatically; null for never. */
  readonly rotateAfterMs: number | null;
}

const DAY_MS = 24 * 3_600_000;
/** Covers clock differences, and processes that have not yet read which key is active. */
const MARGIN_MS = 60_000;

/** The times of a rotation, which starts automatically every `days`; 0 for never. */
export function rotationTimes(days: number): RotationTimes {
  return {
    publishedMs: 2 * KEYS_MAX_AGE_SECONDS * 1_000,
    retiringMs: LONGEST_ACCESS_TOKEN_SECONDS * 1_000 + MARGIN_MS,
    rotateAfterMs: days === 0 ? null : days * DAY_MS,
  };
}

export type Step = "PUBLISH_NEXT" | "ACTIVATE_NEXT" | "RETIRE_FORMER";

/** The steps that are due at `now`. */
function stepsDue(keys: readonly KeyRecord[], now: Date, times: RotationTimes): Step[] {
  const isPast = (since: Date | null | undefined, ms: number | null): boolean =>
    since != null && ms !== null && now.getTime() - since.getTime() >= ms;
  const inState = (state: KeyRecord["state"]): readonly KeyRecord[] => keys.filter((key) => key.state === state);
  const [next] = inState("NEXT");
  const [active] = inState("ACTIVE");
  return [
    ...(inState("RETIRING").some(({ retiringAt }) => isPast(retiringAt, times.retiringMs))
      ? (["RETIRE_FORMER"] as const)
      : []),
    ...(isPast(next?.createdAt, times.publishedMs) ? (["ACTIVATE_NEXT"] as const) : []),
    ...(next === undefined && isPast(active?.activatedAt, times.rotateAfterMs) ? (["PUBLISH_NEXT"] as const) : []),
  ];
}

export interface KeyRotation {
  /** Takes the steps that are due; returns those that this call took. */
  turn(): Promise<Step[]>;
  /** Publishes a next key now, even if none is due. False when there already is one. */
  rotate(): Promise<boolean>;
  /**
   * Retires a compromised key at once. Every access token that it signed is refused from now on, so clients refresh.
   * Throws NOT_FOUND/KEY_NOT_FOUND for a key that is not published.
   */
  retireNow(kid: string): Promise<void>;
}

/** Wires the use cases. `announce` makes signers and verifiers read the keys again. */
export function createKeyRotation(options: {
  store: SigningKeyStore;
  seal: Seal;
  times: RotationTimes;
  announce: (at: Date) => Promise<void>;
  now: () => Date;
}): KeyRotation {
  const { store, seal, times, announce, now } = options;

  async function take(step: Step, at: Date): Promise<boolean> {
    const before = (ms: number): Date => new Date(at.getTime() - ms);
    switch (step) {
      case "PUBLISH_NEXT":
        return store.addNext(await createSealedKey(seal), at);
      case "ACTIVATE_NEXT":
        return store.activate(before(times.publishedMs), at);
      case "RETIRE_FORMER":
        return store.retire(before(times.retiringMs), at);
    }
  }

  return {
    async turn() {
      const at = now();
      const taken: Step[] = [];
      for (const step of stepsDue(await store.list(), at, times)) if (await take(step, at)) taken.push(step);
      if (taken.length > 0) await announce(at);
      return taken;
    },

    async rotate() {
      const at = now();
      const isPublished = await take("PUBLISH_NEXT", at);
      if (isPublished) await announce(at);
      return isPublished;
    },

    async retireNow(kid) {
      const at = now();
      if (!(await store.retireNow(kid, await createSealedKey(seal), at))) {
        throw new AppError("NOT_FOUND", "KEY_NOT_FOUND", "No published key has this id.");
      }
      await announce(at);
    },
  };
}
