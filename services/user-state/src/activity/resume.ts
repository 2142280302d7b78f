/**
 * Resume: what a person was doing and may continue. The activities say with what, and how to open it; the state says
 * where, and what is over. Pure over what the store reads in one statement.
 */
import type { Viewer } from "@continuo/access";
import { resumeOf, type ResumePoint as Point } from "@continuo/merge";
import { STATES } from "@continuo/merge/protocol";
import { isShown, unitId, type Unit, type UnitName } from "../entry/unit.ts";
import type { Namespaces } from "../namespace/namespace.ts";
import { liftUnit } from "../namespace/versions.ts";
import type { StateEntry } from "../stream/stream.ts";
import { view, type ActivityView, type ReadActivity, type StandingUnit } from "./activity.ts";
import { progressOf } from "./lease.ts";

export interface ResumeStore {
  /** A user's open activities, each with its unit, all read at the same time. */
  read(
    userId: string,
  ): Promise<readonly { readonly activity: ReadActivity; readonly unit: StandingUnit | undefined }[]>;
}

/** @public for the generated resolver types */
export interface ResumePoint extends Omit<Point, "deviceId" | "stamp"> {
  readonly device: { readonly id: string };
  readonly at: Date;
  readonly ageMs: number;
}

/** @public for the generated resolver types */
export interface ResumeItem {
  readonly activity: ActivityView;
  readonly device: { readonly id: string };
  readonly ageMs: number;
  readonly point: ResumePoint | null;
  readonly alternatives: readonly ResumePoint[];
  readonly entry: StateEntry | null;
}

/** Newest intent first, at most MAX_ITEMS. */
export type ResumeFor = (viewer: Viewer) => Promise<readonly ResumeItem[]>;

const MAX_ITEMS = 10;

/** Per request, which has one viewer: reads once. */
export function createResumeFor({ store, namespaces }: { store: ResumeStore; namespaces: Namespaces }): ResumeFor {
  let reading: Promise<readonly ResumeItem[]> | undefined;

  async function read(userId: string): Promise<readonly ResumeItem[]> {
    const found = await store.read(userId);
    const known = await namespaces.find(found.map(({ activity }) => activity.namespace));
    const ofUnits = Map.groupBy(found, ({ activity }) => unitId(activity));
    const standing = [...ofUnits.values()].flatMap((of) => {
      const unit = of[0]?.unit;
      const policy = known.get(of[0]?.activity.namespace ?? "")?.definition.policy.resume;
      const place = placeIn(
        of.map(({ activity }) => activity),
        unit,
        policy,
      );
      return place === undefined ? [] : [{ ...place, unit }];
    });
    standing.sort((one, other) => other.ms - one.ms);
    return Promise.all(
      standing.slice(0, MAX_ITEMS).map(async ({ activity, deviceId, ms, point, alternatives, unit }) => {
        const { now } = activity;
        return {
          activity: await view(namespaces, activity),
          device: { id: deviceId },
          ageMs: Math.max(0, now.getTime() - ms),
          point: point && shown(point, now),
          alternatives: alternatives.map((each) => shown(each, now)),
          entry: unit === undefined ? null : await entryOf(namespaces, activity, unit),
        };
      }),
    );
  }

  return ({ userId }) => (reading ??= read(userId));
}

interface Place {
  readonly activity: ReadActivity;
  readonly deviceId: string;
  /** When the person acted last, in milliseconds since the epoch. */
  readonly ms: number;
  readonly point: Point | null;
  readonly alternatives: readonly Point[];
}

/** Where to resume one unit; undefined when it is over. */
function placeIn(
  activities: readonly ReadActivity[],
  unit: StandingUnit | undefined,
  policy: Parameters<typeof resumeOf>[1],
): Place | undefined {
  const [latest] = activities.toSorted((one, other) => other.at.getTime() - one.at.getTime());
  if (latest === undefined || (unit !== undefined && isOver(unit))) return undefined;
  if (unit?.kind !== "PROGRESS") {
    const ms = Math.max(latest.at.getTime(), unit?.ms ?? 0);
    return { activity: latest, deviceId: latest.deviceId, ms, point: null, alternatives: [] };
  }
  const state = progressOf(unit);
  const last = resumeOf(state).answer;
  const { answer, alternatives } = resumeOf(state, policy);
  const deviceId = answer?.deviceId ?? last?.deviceId ?? latest.deviceId;
  return {
    activity: activities.find((each) => each.deviceId === deviceId) ?? latest,
    deviceId,
    ms: Math.max(latest.at.getTime(), last?.stamp.ms ?? 0),
    point: answer,
    alternatives,
  };
}

/** Whether the unit was finished, submitted, discarded or deleted. */
function isOver(unit: Unit): boolean {
  if (unit.kind === "PROGRESS") return resumeOf(progressOf(unit)).answer?.intent === "FINISH";
  if (unit.kind !== "DRAFT") return !isShown(unit);
  const { fields, ended } = STATES.DRAFT.parse(unit.state);
  return fields.length === 0 && ended !== null;
}

function shown({ deviceId, stamp, ...point }: Point, now: Date): ResumePoint {
  return {
    ...point,
    device: { id: deviceId },
    at: new Date(stamp.ms),
    ageMs: Math.max(0, now.getTime() - stamp.ms),
  };
}

/** A stored unit in the newest version of its namespace, as the stream returns it. */
export async function entryOf(namespaces: Namespaces, name: UnitName, unit: StandingUnit): Promise<StateEntry | null> {
  const { namespace: called, key, field } = name;
  const namespace = (await namespaces.find([called])).get(called);
  const { kind, rev, expiresAt } = unit;
  const lifted = namespace && liftUnit(namespace, { ...unit, field });
  if (lifted === undefined || namespace === undefined) return null;
  const { state } = lifted;
  const deleted = !isShown({ kind, state });
  const { version: schemaVersion } = namespace;
  return { namespace: called, key, field: lifted.field, kind, state, deleted, rev, schemaVersion, expiresAt };
}
