/**
 * Erasure: a person's stored state is deleted permanently, and stays away. A new epoch makes every replica start over;
 * the head row records the revision of the erasure, so that changes made without knowing of it cannot return.
 */
import type { Viewer } from "@continuo/access";
import type { Announce } from "../activity/activity.ts";
import type { Namespaces } from "../namespace/namespace.ts";
import { assertRecentSignIn } from "../recent-sign-in.ts";
import { assertKnown } from "../stream/stream.ts";

/** What was erased: counts only, none of the content. */
export interface ErasureReceipt {
  readonly at: Date;
  /** The epoch that starts with this erasure. */
  readonly epoch: string;
  readonly rev: number;
  readonly activityRev: number;
  /** In order of name. */
  readonly namespaces: readonly ErasedNamespace[];
  readonly outcomes: number;
  readonly replicas: number;
}

export interface ErasedNamespace {
  readonly namespace: string;
  readonly entries: number;
  readonly textUpdates: number;
  readonly activities: number;
}

/** Whose state to erase, and how much of it. */
export interface ErasureRequest {
  readonly userId: string;
  /** Undefined: everything, including namespaces that no longer exist, and the replicas. */
  readonly namespaces: readonly string[] | undefined;
}

export interface ErasureStore {
  /**
   * Runs one transaction under the lock of the user's head row: a concurrent push either commits before it and is
   * erased, or comes after it and is refused. `dryRun` rolls it back.
   */
  erase(request: ErasureRequest & { newEpoch: string; dryRun: boolean }): Promise<ErasureReceipt>;
}

/** Erases state: for the person, for an operator, and when a user was deleted. Resolved means committed. */
export type Erase = (request: ErasureRequest) => Promise<ErasureReceipt>;

/** `announce` is called after the commit, so that live streams read again at once. */
export function createErase(options: {
  store: ErasureStore;
  newEpoch: () => string;
  announce: { readonly [Name in keyof Announce]: (userId: string, rev: number) => unknown };
}): Erase {
  const { store, newEpoch, announce } = options;
  return async (request) => {
    const receipt = await store.erase({ ...request, newEpoch: newEpoch(), dryRun: false });
    await announce.state(request.userId, receipt.rev);
    await announce.activities(request.userId, receipt.activityRev);
    return receipt;
  };
}

/**
 * A person's own erasure. Throws STEP_UP_REQUIRED: AUTHENTICATION_TOO_OLD; BAD_USER_INPUT: NAMESPACE_UNKNOWN.
 */
export function createOwnErasure(options: {
  erase: Erase;
  namespaces: Namespaces;
  now: () => Date;
}): (viewer: Viewer, namespaces: readonly string[] | undefined) => Promise<ErasureReceipt> {
  const { erase, namespaces: known, now } = options;
  return async (viewer, namespaces) => {
    assertRecentSignIn(viewer, now());
    await assertKnown(known, namespaces ?? []);
    return erase({ userId: viewer.userId, namespaces });
  };
}
