/**
 * Entries: the units of a person's state, and how a replica's changes are merged into them. `stream/` reads them back.
 */
import type { Viewer } from "@continuo/access";
import { AppError } from "@continuo/errors";
import { MAX_PUSH_BYTES } from "@continuo/merge/protocol";
import { assertUpgraded, type Namespaces } from "../namespace/namespace.ts";
import { validateOp, refuseForRate, type Op } from "./op.ts";
import type { Before, Outcome, Push, Relayed, Settlement, StopReason } from "./push.ts";
import { settle } from "./settle.ts";
import type { Amount } from "./unit.ts";

interface PushRequest extends Omit<Push, "ops"> {
  readonly ops: readonly Op[];
}

export interface PushReceipt {
  readonly outcomes: readonly Outcome[];
  readonly lastSeq: number;
  readonly headRev: number;
  /** Milliseconds since the epoch. */
  readonly serverNow: number;
  /** Why not all ops were settled; those that were are committed. */
  readonly stop: StopReason | null;
  /** For RETRY, in milliseconds, randomised. */
  readonly retryAfterMs: number | null;
  /** Negative when a quota was lowered. */
  readonly quotaRemaining: Amount;
}

export interface EntryStore {
  /**
   * Calls `decide` on the state that the push meets, and stores the result if that state is still current; otherwise
   * decides again. Creates a missing head row with `newEpoch`. An exception from `decide` rolls everything back. Throws
   * PassingFault.
   */
  settle(
    request: { userId: string; deviceId: string; newEpoch: () => string; push: Push },
    decide: (before: Before) => Settlement,
  ): Promise<Settlement>;
  /** What a push would meet, read without a lock and without its units. */
  look(request: { userId: string; clientId: string; newEpoch: () => string }): Promise<Before>;
}

/** A transient database fault (a deadlock, a lock held too long): the push was rolled back, and a retry may succeed. */
export class PassingFault extends Error {
  override readonly name = "PassingFault";
}

export interface Entries {
  /**
   * Settles changes of one of the viewer's replicas; resolved means committed. Throws BAD_USER_INPUT: PUSH_TOO_LARGE;
   * CONFLICT: UPGRADE_REQUIRED, EPOCH_CHANGED, CLIENT_UNKNOWN, CLIENT_OF_OTHER_DEVICE, TOO_MANY_CLIENTS.
   */
  push(viewer: Viewer, request: PushRequest): Promise<PushReceipt>;
}

const RETRY_AFTER_MS = 500;

/**
 * `quota` is each user's, over all namespaces. `changed` is called with each commit that moved a user's head, and the
 * state that it met; `faulted` with whatever interrupted a push, and each unit that could not be computed.
 */
export function createEntries(options: {
  store: EntryStore;
  namespaces: Namespaces;
  quota: Amount;
  newEpoch: () => string;
  changed: (userId: string, settlement: Settlement, before: Before) => void;
  faulted?: (cause: unknown) => void;
  /** Where changes of RELAY namespaces go; absent where there are none. */
  relay?: {
    admits(userId: string): boolean;
    pass(origin: { readonly userId: string; readonly deviceId: string }, changes: readonly Relayed[]): void;
  };
  random?: () => number;
}): Entries {
  const { store, namespaces, quota, newEpoch, changed, faulted, relay, random = Math.random } = options;

  /** The settlement of a push of which nothing could be settled now. */
  async function interruptedAt(userId: string, deviceId: string, push: Push, fault: unknown): Promise<Settlement> {
    const before = await store.look({ userId, clientId: push.clientId, newEpoch });
    return { ...settle({ ...push, ops: [] }, deviceId, before, quota), stop: "RETRY", faults: [fault] };
  }

  return {
    async push({ userId, deviceId }, request) {
      const known = await namespaces.find(
        request.ops.map(({ namespace }) => namespace),
        request.ops,
      );
      assertUpgraded(known, request.ops);
      const ops = request.ops.map((op) => {
        const validated = validateOp(op, known);
        const isRelayed = "persistence" in validated && validated.persistence === "RELAY";
        return isRelayed && relay?.admits(userId) === false ? refuseForRate(validated) : validated;
      });
      // A faulty op is refused individually: it must not make the push too large.
      const bytes = ops.reduce((sum, validated) => sum + ("fault" in validated ? 0 : validated.bytes), 0);
      if (bytes > MAX_PUSH_BYTES)
        throw new AppError(
          "BAD_USER_INPUT",
          "PUSH_TOO_LARGE",
          `A push has at most ${MAX_PUSH_BYTES} bytes: send fewer.`,
        );

      const push: Push = { ...request, ops };
      let met: Before | undefined;
      const settlement = await store
        .settle({ userId, deviceId, newEpoch, push }, (before) => {
          met = before;
          return settle(push, deviceId, before, quota);
        })
        .catch((cause: unknown) => {
          if (!(cause instanceof PassingFault)) throw cause;
          met = undefined;
          return interruptedAt(userId, deviceId, push, cause);
        });
      const { outcomes, lastSeq, rev, serverNow, stop, faults, quotaRemaining, relayed } = settlement;
      if (met !== undefined && rev > met.rev) changed(userId, settlement, met);
      if (relayed.length > 0) relay?.pass({ userId, deviceId }, relayed);
      for (const fault of faults) faulted?.(fault);
      const retryAfterMs = stop === "RETRY" ? Math.round(RETRY_AFTER_MS * (0.5 + random())) : null;
      return { outcomes, lastSeq, headRev: rev, serverNow, stop, retryAfterMs, quotaRemaining };
    },
  };
}
