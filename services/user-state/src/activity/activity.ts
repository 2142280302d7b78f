/**
 * Activities: what each device is doing in the foreground, and with which unit of the state. One activity per device
 * and unit, for a day. The unit's content is an entry; `resume.ts` says where to resume, `lease.ts` and `take-over.ts`
 * who may.
 */
import type { Viewer } from "@continuo/access";
import { AppError } from "@continuo/errors";
import { compareInstants, type Instant } from "@continuo/merge";
import { isName } from "../entry/op.ts";
import type { Unit, UnitName } from "../entry/unit.ts";
import { isStored, kindOf, type Namespace, type Namespaces } from "../namespace/namespace.ts";
import { liftChange, liftUnit } from "../namespace/versions.ts";
import {
  decideClosing,
  isHeldElsewhere,
  isLast,
  LEASE_MS,
  leaseOf,
  newestOf,
  nextFence,
  type Closing,
  type Lease,
  type Leased,
} from "./lease.ts";

/** How long an activity lasts without being published again, in milliseconds. */
export const ACTIVITY_LIFE_MS = 24 * 3_600_000;

interface Content {
  readonly kind: string;
  readonly title: string;
  readonly uris: readonly { readonly platform: string; readonly uri: string }[];
}

/** An activity as stored; `field` is the unit's stored name. */
export interface Activity extends Content, UnitName, Leased {
  readonly id: string;
  /** By the device's clock. */
  readonly stamp: Instant;
  /** The time of the stamp by the server's clock. */
  readonly at: Date;
  readonly expiresAt: Date;
  readonly endedAt: Date | null;
  /** The position in the order of the user's activity changes. */
  readonly rev: number;
}

/** An activity as read at one moment. */
export interface ReadActivity extends Activity {
  /** The unit's highest fence; 0 for none. */
  readonly newestFence: number;
  /** The server's clock. */
  readonly now: Date;
}

/** The current state of a unit. */
export interface StandingUnit extends Unit {
  /** The time of its last change, by effective stamp, in milliseconds since the epoch. */
  readonly ms: number;
  /** When it expires, in milliseconds since the epoch; null: never. */
  readonly expiresAt: number | null;
}

/** The state of one unit and its activities, which a decision is based on. */
export interface UnitSnapshot {
  readonly now: Date;
  /** The revision that a change of activities gets now. */
  readonly rev: number;
  /** All activities for this unit, on any device. */
  readonly activities: readonly Activity[];
  readonly unit: StandingUnit | undefined;
}

export interface Decision<Result> {
  /** The activities to store. Those with the new `rev` are announced to the devices. */
  readonly activities: readonly Activity[];
  readonly result: Result;
}

/** A decision with its consequence for the unit. */
export interface Settled<Result> extends Decision<Result> {
  /** The unit is closed to fences below this from now on; null: unchanged. */
  readonly closeTo: number | null;
}

export interface ActivityStore {
  find(userId: string, id: string): Promise<Activity | undefined>;
  /** Reads without a lock. */
  look(userId: string, unit: UnitName): Promise<Omit<UnitSnapshot, "rev">>;
  /**
   * Runs one transaction under the lock of the user's head row (created with `newEpoch` if missing): reads, calls
   * `decide`, and stores. An exception from `decide` rolls everything back. The returned revisions are those that
   * advanced, else null.
   */
  decide<Result>(
    request: { userId: string; unit: Closing; newEpoch: string },
    decide: (met: UnitSnapshot) => Settled<Result>,
  ): Promise<{ result: Result; activityRev: number | null; stateRev: number | null }>;
  /**
   * Returns the activities with a revision above `since`, by revision; activities of one revision are never split
   * across pages. `erased` is the revision of the last erasure.
   */
  changes(
    userId: string,
    since: number,
    first: number,
  ): Promise<{ head: number; erased: number; hasMore: boolean; activities: ReadActivity[] }>;
}

/** Announces commits; not awaited. */
export interface Announce {
  activities(userId: string, rev: number): void;
  state(userId: string, headRev: number): void;
}

/** An activity as clients see it. */
export interface ActivityView extends Content, UnitName {
  readonly id: string;
  readonly device: { readonly id: string };
  readonly at: Date;
  readonly expiresAt: Date;
  readonly endedAt: Date | null;
  readonly lease: Lease | null;
}

/** @public for the generated resolver types */
export interface ActivityChanges {
  readonly from: string | null;
  readonly to: string;
  readonly hasMore: boolean;
  readonly activities: readonly ActivityView[];
}

interface Published extends Content, UnitName {
  readonly schemaVersion: number;
  readonly stamp: Instant;
  readonly clientNow: number;
}

export interface Activities {
  /** Throws BAD_USER_INPUT: NAMESPACE_UNKNOWN, NAMESPACE_NOT_STORED, FIELD_UNKNOWN, KEY_INVALID. */
  publish(viewer: Viewer, activity: Published): Promise<ActivityView>;
  /** Throws NOT_FOUND: ACTIVITY_NOT_FOUND. */
  end(viewer: Viewer, id: string): Promise<ActivityView>;
  /** Throws BAD_USER_INPUT: CURSOR_INVALID. */
  changes(viewer: Viewer, since: string | null, first: number): Promise<ActivityChanges>;
}

/** The dependencies of this feature's use cases. */
export interface ActivityOptions {
  readonly store: ActivityStore;
  readonly namespaces: Namespaces;
  readonly announce: Announce;
  readonly newId: () => string;
}

export function createActivities(options: ActivityOptions): Activities {
  const { store, namespaces, newId } = options;
  const change = changing(options);

  return {
    async publish({ userId, deviceId }, published) {
      const unit = await unitNamed(namespaces, published);
      const activity = await change(userId, unit, (met) =>
        publish(met, { ...published, field: unit.field, deviceId, id: newId() }),
      );
      return view(namespaces, activity);
    },

    async end({ userId }, id) {
      const found = await store.find(userId, id);
      if (found === undefined) throw activityNotFound();
      const activity = await change(userId, await unitOf(namespaces, found), (met) => end(met, id));
      return view(namespaces, activity);
    },

    async changes({ userId }, since, first) {
      const from = since === null ? 0 : Number(/^\d{1,15}$/.exec(since)?.[0] ?? Number.NaN);
      const { head, erased, hasMore, activities } = await store.changes(userId, Number.isNaN(from) ? 0 : from, first);
      // Ahead of the head: the cursor comes from a database that was restored to an earlier state. Behind an erasure:
      // what the reader has was erased, and no change would say so.
      if (Number.isNaN(from) || from > head || (since !== null && from < erased))
        throw new AppError("BAD_USER_INPUT", "CURSOR_INVALID", "The cursor is not valid: start without one.");
      return {
        from: since,
        to: String(activities.at(-1)?.rev ?? Math.max(from, erased)),
        hasMore,
        activities: await Promise.all(activities.map((activity) => view(namespaces, activity))),
      };
    },
  };
}

/** Makes a decision about a unit, settles and announces it. */
export function changing({ store, announce, newId }: ActivityOptions) {
  return async <Result>(
    userId: string,
    unit: Closing,
    decide: (met: UnitSnapshot) => Decision<Result>,
  ): Promise<Result> => {
    const { result, activityRev, stateRev } = await store.decide({ userId, unit, newEpoch: newId() }, (met) =>
      settled(unit, met, decide(met)),
    );
    if (activityRev !== null) announce.activities(userId, activityRev);
    if (stateRev !== null) announce.state(userId, stateRev);
    return result;
  };
}

function settled<Result>(unit: Closing, met: UnitSnapshot, { activities, result }: Decision<Result>): Settled<Result> {
  const all = new Map([...met.activities, ...activities].map((each) => [each.id, each]));
  const { closeTo, late } = decideClosing([...all.values()], met.unit, unit, met.now);
  const stored = new Map(
    [...activities, ...late.map((each) => ({ ...each, rev: met.rev }))].map((each) => [each.id, each]),
  );
  return { activities: [...stored.values()], result, closeTo };
}

/** Resolves a client's unit name to the stored one. Throws BAD_USER_INPUT if no such unit can be stored. */
async function unitNamed(namespaces: Namespaces, named: UnitName & { schemaVersion: number }): Promise<Closing> {
  const namespace = (await namespaces.find([named.namespace], [named])).get(named.namespace);
  if (namespace === undefined) throw new AppError("BAD_USER_INPUT", "NAMESPACE_UNKNOWN", "There is no such namespace.");
  if (!isStored(namespace))
    throw new AppError(
      "BAD_USER_INPUT",
      "NAMESPACE_NOT_STORED",
      `The namespace ${named.namespace} is not stored on the server.`,
    );
  const isKnown = isName(named.field) && kindOf(namespace, named.field, named.schemaVersion) !== undefined;
  const stored = isKnown ? liftChange(namespace, { ...named, payload: null }) : undefined;
  if (stored === undefined)
    throw new AppError("BAD_USER_INPUT", "FIELD_UNKNOWN", `${named.namespace} has no such field.`);
  return unitOf(namespaces, { ...named, field: stored.field });
}

/** A stored unit name, with the kind and version that a new unit of that name gets. */
export async function unitOf(namespaces: Namespaces, { namespace: name, key, field }: UnitName): Promise<Closing> {
  const namespace = (await namespaces.find([name])).get(name);
  const shown = namespace && shownAs(namespace, field);
  const kind = namespace === undefined || shown === undefined ? undefined : kindOf(namespace, shown);
  return { namespace: name, key, field, kind, schemaVersion: namespace?.version ?? 1 };
}

/**
 * The field's name in the newest namespace version, for the stored name `field`; undefined when that version does not
 * show it.
 */
function shownAs(namespace: Namespace, field: string): string | undefined {
  return liftUnit(namespace, { field, state: null, schemaVersion: namespace.version })?.field;
}

export async function view(namespaces: Namespaces, activity: ReadActivity): Promise<ActivityView> {
  const { id, kind, title, uris, key, deviceId, at, expiresAt, endedAt, newestFence, now } = activity;
  const namespace = (await namespaces.find([activity.namespace])).get(activity.namespace);
  return {
    id,
    kind,
    title,
    uris,
    namespace: activity.namespace,
    key,
    field: (namespace && shownAs(namespace, activity.field)) ?? activity.field,
    device: { id: deviceId },
    at,
    expiresAt,
    endedAt,
    lease: leaseOf(activity, newestFence, now),
  };
}

/** The activity as a read right after the decision would return it. */
export function asRead(activity: Activity, { activities, now }: UnitSnapshot): ReadActivity {
  return { ...activity, newestFence: newestOf([...activities, activity])?.fence ?? 0, now };
}

/** A new activity, open for ACTIVITY_LIFE_MS, without a lease. */
export function opened(
  { kind, title, uris, namespace, key, field }: Content & UnitName,
  { now, rev }: UnitSnapshot,
  by: Pick<Activity, "id" | "deviceId" | "stamp" | "at">,
): Activity {
  const about = { kind, title, uris, namespace, key, field };
  const expiresAt = later(now, ACTIVITY_LIFE_MS);
  return { ...by, ...about, expiresAt, endedAt: null, rev, fence: null, leaseUntil: null, flush: null };
}

export function later(now: Date, ms: number): Date {
  return new Date(now.getTime() + ms);
}

export function isOpen({ endedAt, expiresAt }: Activity, now: Date): boolean {
  return endedAt === null && expiresAt > now;
}

/** NOT_FOUND/ACTIVITY_NOT_FOUND: missing, ended, or another user's. */
export function activityNotFound(): AppError {
  return new AppError("NOT_FOUND", "ACTIVITY_NOT_FOUND", "You have no such activity.");
}

function publish(
  met: UnitSnapshot,
  published: Content & UnitName & { id: string; deviceId: string; stamp: Instant; clientNow: number },
): Decision<ReadActivity> {
  const { now, rev, activities, unit } = met;
  const { id, deviceId, stamp, clientNow } = published;
  const own = activities.find((each) => each.deviceId === deviceId);
  const isRepeated = own !== undefined && compareInstants(own.stamp, stamp) === 0;
  // As old as the device's clock says, and never in the future: see `effectiveStamp`.
  const at = isRepeated ? own.at : new Date(Math.max(0, now.getTime() - Math.max(0, clientNow - stamp.ms)));
  const isLate = own !== undefined && (isRepeated ? own.endedAt !== null : at < own.at);
  if (isLate) return { activities: [], result: asRead(own, met) };

  const newest = newestOf(activities);
  const isMine = newest?.deviceId === deviceId && isLast(newest, unit);
  const isGranted = !isMine && !isHeldElsewhere(newest, deviceId, now);
  const fence = isGranted ? nextFence(newest, unit) : (own?.fence ?? null);
  const next: Activity = {
    ...opened(published, met, { id: own?.id ?? id, deviceId, stamp, at }),
    fence,
    leaseUntil: isGranted || isMine ? later(now, LEASE_MS) : (own?.leaseUntil ?? null),
    flush: isGranted ? null : (own?.flush ?? null),
  };
  const isNews = own === undefined || !isRepeated || isGranted || !isOpen(own, now) || !isSame(own, next);
  const lost = isGranted && newest !== undefined && newest !== own ? [{ ...newest, rev }] : [];
  return {
    activities: [isNews ? next : { ...next, rev: own.rev }, ...lost],
    result: asRead(next, met),
  };
}

function end(met: UnitSnapshot, id: string): Decision<ReadActivity> {
  const { now, rev, activities } = met;
  const activity = activities.find((each) => each.id === id);
  if (activity === undefined) throw activityNotFound();
  if (activity.endedAt !== null) return { activities: [], result: asRead(activity, met) };
  const soonest = (until: Date): Date => (until < now ? until : now);
  const { leaseUntil, expiresAt } = activity;
  const ended: Activity = {
    ...activity,
    endedAt: now,
    expiresAt: soonest(expiresAt),
    leaseUntil: leaseUntil && soonest(leaseUntil),
    rev,
  };
  return { activities: [ended], result: asRead(ended, met) };
}

function isSame(one: Content, other: Content): boolean {
  const text = ({ kind, title, uris }: Content): string =>
    JSON.stringify([kind, title, uris.map(({ platform, uri }) => [platform, uri])]);
  return text(one) === text(other);
}
