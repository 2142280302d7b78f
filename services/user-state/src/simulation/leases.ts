/** Leases of the film, granted and taken over by the real use cases over activities in memory. */
import { createActivities, type Activity, type ActivityStore, type UnitSnapshot } from "../activity/activity.ts";
import { closeUnit, newestOf } from "../activity/lease.ts";
import { createTakeOvers } from "../activity/take-over.ts";
import { usageAfter } from "../entry/quota.ts";
import { unitId } from "../entry/unit.ts";
import { DEFINITION, NAMESPACES, unitOf } from "./life.ts";
import type { Memory } from "./memory.ts";
import type { Oracle } from "./oracle.ts";
import type { Random } from "./random.ts";
import { viewerOn } from "./server.ts";

export interface Leases {
  /** Continues the film of `key` on this device. Returns the fence of its lease. */
  takeOver(deviceId: string, key: string): Promise<number>;
}

/** Reports to `oracle` whenever a unit is closed to older fences. */
export function createLeases(options: { memory: Memory; random: Random; oracle: Oracle; now: () => number }): Leases {
  const { memory, random, oracle, now } = options;
  const activities = new Map<string, Activity>();

  const look = (unit: { namespace: string; key: string; field: string }): Omit<UnitSnapshot, "rev"> => ({
    now: new Date(now()),
    activities: [...activities.values()].filter((each) => unitId(each) === unitId(unit)),
    unit: memory.stored().units.get(unitId(unit)),
  });

  const store: ActivityStore = {
    find: async (_userId, id) => activities.get(id),
    look: async (_userId, unit) => look(unit),
    changes: async () => ({ head: 0, erased: 0, hasMore: false, activities: [] }),
    async decide({ unit: name }, decide) {
      const met: UnitSnapshot = { ...look(name), rev: 1 };
      const decision = decide(met);
      for (const activity of decision.activities) activities.set(activity.id, activity);
      const { closeTo } = decision;
      if (closeTo !== null) {
        const stored = memory.stored();
        const rev = stored.head.rev + 1;
        const closed = closeUnit(met.unit, name, { fence: closeTo, rev, now: met.now });
        if (closed !== undefined) {
          const { namespace, key, field } = name;
          const change = {
            namespace,
            key,
            field,
            ...closed,
            ms: now(),
            appended: null,
            expiresAt: met.unit?.expiresAt ?? null,
          };
          memory.restore({
            ...stored,
            head: { ...stored.head, rev, usage: usageAfter(stored.head.usage, name, met.unit, closed) },
            units: new Map(stored.units).set(unitId(name), change),
          });
        }
        oracle.takenOver(name.key, closeTo);
      }
      return { result: decision.result, activityRev: null, stateRev: null };
    },
  };

  const ofActivities = {
    store,
    namespaces: NAMESPACES,
    newId: () => random.uuid(),
    announce: { activities: () => undefined, state: () => undefined },
  };
  const published = createActivities(ofActivities);
  const takeOvers = createTakeOvers({
    ...ofActivities,
    listen: async () => ({ [Symbol.asyncDispose]: async () => undefined }),
  });

  return {
    async takeOver(deviceId, key) {
      const unit = unitOf(key, "position");
      const holder = newestOf(look(unit).activities);
      // Does not wait for a flush: time is virtual here.
      if (holder !== undefined) return (await takeOvers.takeOver(viewerOn(deviceId), holder.id, { force: true })).fence;
      const stamp = { ms: now(), counter: 0 };
      const film = { kind: "watch", title: "A film", uris: [], schemaVersion: DEFINITION.version };
      const { lease } = await published.publish(viewerOn(deviceId), { ...film, ...unit, stamp, clientNow: now() });
      return lease?.fence ?? 0;
    },
  };
}
