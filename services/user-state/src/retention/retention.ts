/**
 * Retention: what is forgotten, and when. Nothing depends on it having run; it may stop at any point and start over.
 * Forgetting a deletion raises a fence (`pruned_rev`), behind which readers start over and old writes are refused.
 */
import { KINDS, type Json } from "@continuo/merge";
import { STATES } from "@continuo/merge/protocol";
import { TOMBSTONE_LIFE_MS } from "../entry/fence.ts";

export interface RetentionStore {
  /** The database's clock, which dated the stored rows: a clock ahead of it would forget what fences rely on. */
  now(): Promise<Date>;
  /** Deletes outcomes stored before `cutoff`, at most `limit`; returns how many. */
  forgetAnswers(cutoff: Date, limit: number): Promise<number>;
  /** Deletes replicas not seen since `cutoff` of at most `limit` users; returns how many. */
  forgetReplicas(cutoff: Date, limit: number): Promise<number>;
  /** Deletes activities that were over before `cutoff`, at most `limit`; returns how many. */
  forgetActivities(cutoff: Date, limit: number): Promise<number>;
  /** Up to `limit` users after `afterUserId` (in order) whose state remembers removals older than `cutoff`. */
  usersWithRemovals(cutoff: Date, afterUserId: string, limit: number): Promise<readonly string[]>;
  /** Deletes a user's tombstones older than `cutoff` that every replica has acknowledged, and raises the fence; returns how many. */
  pruneTombstones(userId: string, cutoff: Date): Promise<number>;
  /** Up to `limit` users after `afterUserId` (in order) who have expired units, by the database's clock. */
  usersWithExpired(afterUserId: string, limit: number): Promise<readonly string[]>;
  /** Turns up to `limit` expired units of a user into tombstones; returns how many. */
  buryExpired(userId: string, limit: number): Promise<number>;
  /** Prunes a user's maps by `forgetInMap` and raises the fence; returns how many changed. */
  pruneMaps(userId: string, cutoff: Date): Promise<number>;
}

export interface Forgotten {
  readonly expired: number;
  readonly answers: number;
  readonly replicas: number;
  readonly activities: number;
  readonly tombstones: number;
  readonly maps: number;
}

const DAY_MS = 24 * 3_600_000;
const ANSWER_LIFE_MS = 30 * DAY_MS;
const REPLICA_LIFE_MS = 180 * DAY_MS;
/** Long enough that subscribers have learned that an activity is over, or have dropped it as expired. */
const ACTIVITY_MEMORY_MS = DAY_MS;
const BATCH = 500;
const FIRST_USER = "00000000-0000-0000-0000-000000000000";

/**
 * Forgets everything that is due, in batches; `signal` stops it between two. Replicas go before tombstones, which they
 * hold back.
 */
export function createRetention(store: RetentionStore): (signal: AbortSignal) => Promise<Forgotten> {
  return async (signal) => {
    signal.throwIfAborted();
    const now = await store.now();
    const before = (ageMs: number): Date => new Date(now.getTime() - ageMs);

    async function inBatches(forget: (limit: number) => Promise<number>): Promise<number> {
      let total = 0;
      for (let count = BATCH; count > 0; total += count) {
        signal.throwIfAborted();
        count = await forget(BATCH);
      }
      return total;
    }

    const answers = await inBatches((limit) => store.forgetAnswers(before(ANSWER_LIFE_MS), limit));
    const replicas = await inBatches((limit) => store.forgetReplicas(before(REPLICA_LIFE_MS), limit));
    const activities = await inBatches((limit) => store.forgetActivities(before(ACTIVITY_MEMORY_MS), limit));
    let expired = 0;
    let lastUser = FIRST_USER;
    await inBatches(async (limit) => {
      const users = await store.usersWithExpired(lastUser, limit);
      for (const userId of users) {
        expired += await inBatches((units) => store.buryExpired(userId, units));
        lastUser = userId;
      }
      return users.length;
    });
    let tombstones = 0;
    let maps = 0;
    lastUser = FIRST_USER;
    await inBatches(async (limit) => {
      const users = await store.usersWithRemovals(before(TOMBSTONE_LIFE_MS), lastUser, limit);
      for (const userId of users) {
        signal.throwIfAborted();
        tombstones += await store.pruneTombstones(userId, before(TOMBSTONE_LIFE_MS));
        maps += await store.pruneMaps(userId, before(TOMBSTONE_LIFE_MS));
        lastUser = userId;
      }
      return users.length;
    });
    return { expired, answers, replicas, activities, tombstones, maps };
  };
}

/**
 * The map without the member removals that every replica has acknowledged and that were made before `cutoffMs`;
 * undefined when there are none. `fence` is a revision at or above every forgotten write.
 */
export function forgetInMap(
  stored: Json,
  ackedRev: number,
  cutoffMs: number,
): { readonly state: Json; readonly fence: number; readonly isClean: boolean } | undefined {
  const state = STATES.MAP.parse(stored);
  const writes = state.members.flatMap((member) => member.writes);
  const young = writes.filter(({ stamp }) => stamp.ms >= cutoffMs).map(({ rev }) => rev - 1);
  const fence = Math.min(ackedRev, ...young, Math.max(...writes.map(({ rev }) => rev)));
  const pruned = KINDS.MAP.prune?.(state, fence) ?? state;
  if (pruned === state) return undefined;
  return { state: pruned, fence, isClean: KINDS.MAP.prune?.(pruned, Number.MAX_SAFE_INTEGER) === pruned };
}
