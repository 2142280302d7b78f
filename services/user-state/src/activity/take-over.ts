/**
 * Taking over: a person continues here what another device was doing. There are two decisions. The first gives this
 * device the lease and asks the other one to push its unsent changes; between them only the request is held. The second
 * closes the unit to the older fence; so does any other decision made once no flush is pending (`changing`). Until then
 * the other device's changes still move the resume point, as they should: they are the latest. A client learns a new
 * fence only after the unit is closed, unless it reads the activities during the flush.
 */
import type { Viewer } from "@continuo/access";
import { setTimeout as pause } from "node:timers/promises";
import type { StateEntry } from "../stream/stream.ts";
import {
  ACTIVITY_LIFE_MS,
  activityNotFound,
  asRead,
  changing,
  isOpen,
  later,
  opened,
  unitOf,
  view,
  type Activity,
  type ActivityOptions,
  type ActivityView,
  type Decision,
  type ReadActivity,
  type UnitSnapshot,
} from "./activity.ts";
import { FLUSH_MS, isAsked, isHeldElsewhere, isLast, LEASE_MS, newestOf, nextFence } from "./lease.ts";
import { entryOf } from "./resume.ts";

type Flushed = "FLUSHED" | "NOT_FLUSHED" | "OFFLINE";

/** @public for the generated resolver types */
export interface TakeOver {
  readonly activity: ActivityView;
  readonly fence: number;
  readonly flushed: Flushed;
  readonly entry: StateEntry | null;
}

export interface TakeOvers {
  /** `force`: without waiting for the current holder. Throws NOT_FOUND: ACTIVITY_NOT_FOUND. */
  takeOver(viewer: Viewer, activityId: string, options: { force: boolean }): Promise<TakeOver>;
  /** Throws NOT_FOUND: ACTIVITY_NOT_FOUND, also for another device's activity. */
  confirmFlush(viewer: Viewer, activityId: string, fence: number): Promise<ActivityView>;
}

/** `listen` calls `wake` after each change of the user's activities, and whenever one may have been missed. */
export function createTakeOvers(
  options: ActivityOptions & {
    listen: (userId: string, wake: () => void) => Promise<AsyncDisposable>;
    flushMs?: number;
  },
): TakeOvers {
  const { store, namespaces, newId, listen, flushMs = FLUSH_MS } = options;
  const change = changing(options);

  /** Waits until the flush for `fence` is over: confirmed, timed out, or replaced by another take-over. */
  async function flushed(userId: string, unit: Activity, fence: number): Promise<void> {
    let waking = new AbortController();
    // Subscribes before reading, so that no change is missed in between.
    await using _listening = await listen(userId, () => waking.abort());
    for (;;) {
      waking = new AbortController();
      const met = await store.look(userId, unit);
      const asked = met.activities.find((each) => each.flush?.fence === fence && isAsked(each, met.now));
      if (asked?.flush == null) return;
      await pause(asked.flush.until.getTime() - met.now.getTime(), undefined, { signal: waking.signal }).catch(
        () => undefined,
      );
    }
  }

  return {
    async takeOver({ userId, deviceId }, activityId, { force }) {
      const target = await store.find(userId, activityId);
      if (target === undefined) throw activityNotFound();
      const unit = await unitOf(namespaces, target);
      const id = newId();
      const ms = force ? 0 : flushMs;
      const fence = await change(userId, unit, (met) => begin(met, { activityId, deviceId, id, flushMs: ms }));
      if (!force) await flushed(userId, target, fence);
      const { own, flushed: answer } = await change(userId, unit, (met) =>
        finish(met, { activityId, deviceId, fence }),
      );
      const { unit: stands, now: readAt } = await store.look(userId, unit);
      const isKept = stands !== undefined && (stands.expiresAt ?? Infinity) > readAt.getTime();
      return {
        activity: await view(namespaces, own),
        fence,
        flushed: answer,
        entry: isKept ? await entryOf(namespaces, unit, stands) : null,
      };
    },

    async confirmFlush({ userId, deviceId }, activityId, fence) {
      const found = await store.find(userId, activityId);
      if (found === undefined || found.deviceId !== deviceId || found.fence !== fence) throw activityNotFound();
      const unit = await unitOf(namespaces, found);
      return view(namespaces, await change(userId, unit, (met) => confirm(met, activityId)));
    },
  };
}

/** Transfers the lease, and asks its holder, or the device already being asked, for a flush. */
function begin(
  met: UnitSnapshot,
  { activityId, deviceId, id, flushMs }: { activityId: string; deviceId: string; id: string; flushMs: number },
): Decision<number> {
  const { now, rev, activities } = met;
  const target = activities.find((each) => each.id === activityId);
  if (target === undefined || !isOpen(target, now)) throw activityNotFound();
  const newest = newestOf(activities);
  const own = activities.find((each) => each.deviceId === deviceId);

  if (own !== undefined && own === newest && own.fence !== null && isLast(own, met.unit)) {
    // A repeated request, or nobody else holds it.
    const renewed = { ...own, leaseUntil: later(now, LEASE_MS), expiresAt: later(now, ACTIVITY_LIFE_MS) };
    return { activities: [isOpen(own, now) ? renewed : { ...renewed, endedAt: null, rev }], result: own.fence };
  }

  const fence = nextFence(newest, met.unit);
  const holder = isHeldElsewhere(newest, deviceId, now) ? newest : undefined;
  const asked = activities.find((each) => each.deviceId !== deviceId && isAsked(each, now)) ?? holder;
  const soonest = later(now, flushMs);
  const until = asked?.flush && isAsked(asked, now) && asked.flush.until < soonest ? asked.flush.until : soonest;
  const stamp = { ms: now.getTime(), counter: 0 };
  const taken: Activity = {
    ...opened(target, met, { id: own?.id ?? id, deviceId, stamp, at: now }),
    fence,
    leaseUntil: later(now, LEASE_MS),
  };
  const told = new Map<string, Activity>();
  if (newest !== undefined) told.set(newest.id, { ...newest, rev });
  if (asked !== undefined) told.set(asked.id, { ...asked, flush: { fence, until, doneAt: null }, rev });
  told.set(taken.id, taken);
  return { activities: [...told.values()], result: fence };
}

/**
 * The result of the take-over, even if another device has taken over since. A device that did not answer has no more
 * time.
 */
function finish(
  met: UnitSnapshot,
  { activityId, deviceId, fence }: { activityId: string; deviceId: string; fence: number },
): Decision<{ own: ReadActivity; flushed: Flushed }> {
  const { now, rev, activities } = met;
  const own = activities.find((each) => each.deviceId === deviceId);
  if (own === undefined) throw activityNotFound();
  const newest = newestOf(activities);
  const isLost = newest !== undefined && newest.fence !== null && newest.fence > fence;
  const asked = activities.find(({ flush }) => flush !== null && flush.fence >= fence);
  const flushed = answerOf(asked, activities.find(({ id }) => id === activityId)?.deviceId === deviceId);
  if (isLost) return { activities: [], result: { own: asRead(own, met), flushed } };

  const isSilent = asked?.flush != null && asked.flush.doneAt === null;
  const until = asked?.flush && asked.flush.until < now ? asked.flush.until : now;
  return {
    activities: isSilent ? [{ ...asked, flush: { fence, until, doneAt: null }, rev }] : [],
    result: { own: asRead(own, met), flushed },
  };
}

function answerOf(asked: Activity | undefined, wasOwn: boolean): Flushed {
  if (asked?.flush) return asked.flush.doneAt === null ? "NOT_FLUSHED" : "FLUSHED";
  return wasOwn ? "FLUSHED" : "OFFLINE";
}

/** Records that the device has pushed everything, so nobody waits any longer. */
function confirm(met: UnitSnapshot, activityId: string): Decision<ReadActivity> {
  const { now, rev, activities } = met;
  const own = activities.find((each) => each.id === activityId);
  if (own === undefined) throw activityNotFound();
  if (own.flush === null || !isAsked(own, now)) return { activities: [], result: asRead(own, met) };
  const confirmed: Activity = { ...own, flush: { ...own.flush, doneAt: now }, rev };
  return { activities: [confirmed], result: asRead(confirmed, met) };
}
