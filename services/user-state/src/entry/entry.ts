/**
 * Entries: the units of a person's state, and how a replica's changes become part of them.
 * Reading them back is the stream's.
 */
import type { Viewer } from "@continuo/access";
import { AppError } from "@continuo/errors";
import { MAX_PUSH_BYTES } from "@continuo/merge/protocol";
import { assertUpgraded, type Namespaces } from "../namespace/namespace.ts";
import { judge, type Op } from "./op.ts";
import { settle, type Before, type Outcome, type Push, type Settlement } from "./settle.ts";
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
  readonly stop: "GAP" | null;
  /** Negative when a quota was lowered. */
  readonly quotaRemaining: Amount;
}

export interface EntryStore {
  /**
   * One transaction: locks the user's head row (made with `newEpoch` if there is none), reads what the push meets, has
   * `decide` decide, stores it. What `decide` throws undoes everything.
   */
  settle(
    request: { userId: string; deviceId: string; newEpoch: string; push: Push },
    decide: (before: Before) => Settlement,
  ): Promise<Settlement>;
}

export interface Entries {
  /**
   * Settles changes of one of the viewer's replicas; resolved means committed. Throws BAD_USER_INPUT: PUSH_TOO_LARGE;
   * CONFLICT: UPGRADE_REQUIRED, EPOCH_CHANGED, CLIENT_UNKNOWN, CLIENT_OF_OTHER_DEVICE.
   */
  push(viewer: Viewer, request: PushRequest): Promise<PushReceipt>;
}

/** `quota` is each user's, in all namespaces; `changed` hears of each commit that moved a user's head. */
export function createEntries(options: {
  store: EntryStore;
  namespaces: Namespaces;
  quota: Amount;
  newEpoch: () => string;
  changed: (userId: string, headRev: number) => void;
}): Entries {
  const { store, namespaces, quota, newEpoch, changed } = options;
  return {
    async push({ userId, deviceId }, request) {
      const known = await namespaces.find(
        request.ops.map(({ namespace }) => namespace),
        request.ops,
      );
      assertUpgraded(known, request.ops);
      const ops = request.ops.map((op) => judge(op, known));
      // A faulty op is refused by itself: it must not make the push too large to be taken.
      const bytes = ops.reduce((sum, judged) => sum + ("fault" in judged ? 0 : judged.bytes), 0);
      if (bytes > MAX_PUSH_BYTES)
        throw new AppError(
          "BAD_USER_INPUT",
          "PUSH_TOO_LARGE",
          `A push has at most ${MAX_PUSH_BYTES} bytes: send fewer.`,
        );

      const push: Push = { ...request, ops };
      let revBefore = 0;
      const settlement = await store.settle({ userId, deviceId, newEpoch: newEpoch(), push }, (before) => {
        revBefore = before.rev;
        return settle(push, deviceId, before, quota);
      });
      const { outcomes, lastSeq, rev, serverNow, stop, quotaRemaining } = settlement;
      if (rev > revBefore) changed(userId, rev);
      return { outcomes, lastSeq, headRev: rev, serverNow, stop, quotaRemaining };
    },
  };
}
