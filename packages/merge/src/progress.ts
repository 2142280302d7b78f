/**
 * Progress through a film or a book. Each device has its own row, so devices never overwrite each other, and the resume
 * point is computed from the rows. Actions (play, seek, pause, finish) move it in either direction. Passive reports
 * (PASSIVE: a paused television, a background tab) never move it, nor do reports under an older fence: that player has
 * been taken over and may not know it.
 */
import { compareText } from "./json.ts";
import type { Applied, Context, Kind, ResumePolicy } from "./kind.ts";
import type { ProgressPayload } from "./payload.ts";
import { compareStamps } from "./stamp.ts";
import type { ProgressState, Report } from "./state.ts";

type Row = ProgressState["devices"][number];

export type ResumePoint = Omit<Report, "rev" | "baseRev">;

export type Resume = {
  /** Raised by starting over; reports of earlier epochs no longer count. */
  readonly epoch: number;
  /** Where to resume; null when nobody has acted yet, or when the person must choose among the alternatives. */
  readonly answer: ResumePoint | null;
  /**
   * Materially different positions of other devices, or where a device that was taken over went on to; latest first.
   */
  readonly alternatives: readonly ResumePoint[];
  /** The furthest position reached by an action. */
  readonly furthest: ResumePoint | null;
};

/** More rows than this are dropped, starting with the device that acted longest ago. */
export const MAX_DEVICES = 20;

/**
 * Bounded: MAX_DEVICES rows of two reports each, plus the furthest. Up to that many devices, arrival order does not
 * matter.
 */
export const progress: Kind<ProgressState, ProgressPayload, Resume> = {
  name: "PROGRESS",
  initial: { epoch: 0, devices: [], furthest: null },
  maxStateBytes: 48 * 1024,
  apply(state, payload, context) {
    if (payload.type === "REPORT") return report(state, payload, context);
    if (payload.epoch <= state.epoch) return { outcome: "NOOP", state, losers: [] };
    if (isTakenOver(state, payload)) return { outcome: "SUPERSEDED", state, losers: [] };
    return { outcome: "APPLIED", state: begun(state, payload.epoch), losers: [] };
  },
  view: (state, policy) => (state.devices.length === 0 ? undefined : resumeOf(state, policy)),
  standing({ devices }, payload, deviceId) {
    if (payload.type === "RESTART") return [];
    const own = devices.filter((row) => row.deviceId === deviceId).map(({ latest }) => latest.stamp);
    const acted = payload.intent === "PASSIVE" ? undefined : latestIntent(devices);
    return acted === undefined ? own : [...own, acted.stamp];
  },
  join(state, other) {
    const fence = Math.max(state.fence ?? 0, other.fence ?? 0);
    const closed = (one: ProgressState): ProgressState => (fence === 0 ? one : fenced(one, fence));
    if (state.epoch !== other.epoch) return closed(state.epoch > other.epoch ? state : other);
    const rows = new Map(state.devices.map((row) => [row.deviceId, row]));
    for (const { deviceId, latest, intended } of other.devices) {
      const row = rows.get(deviceId);
      const next = {
        deviceId,
        latest: later(row?.latest ?? null, latest),
        intended: intended === null ? (row?.intended ?? null) : later(row?.intended ?? null, intended),
      };
      if (next.latest !== row?.latest || next.intended !== row.intended) rows.set(deviceId, next);
    }
    const furthest = other.furthest === null ? state.furthest : further(state.furthest, other.furthest);
    const devices = [...rows.values()].sort(lastActedFirst).slice(0, MAX_DEVICES);
    devices.sort((one, two) => compareText(one.deviceId, two.deviceId));
    const isSame =
      devices.length === state.devices.length &&
      devices.every((row) => state.devices.includes(row)) &&
      furthest === state.furthest;
    return closed(isSame ? state : { ...state, devices, furthest });
  },
  rebase(state, by) {
    const moved = (each: Report): Report => ({ ...each, rev: each.rev + by, baseRev: each.baseRev + by });
    return {
      ...state,
      devices: state.devices.map(({ deviceId, latest, intended }) => ({
        deviceId,
        latest: moved(latest),
        intended: intended && moved(intended),
      })),
      furthest: state.furthest && moved(state.furthest),
    };
  },
  expire: (state) => begun(state, state.devices.length === 0 ? state.epoch : state.epoch + 1),
};

/**
 * Closes the state to reports under a fence older than `fence`; returns the same object if it is already closed. Only
 * the server, which assigns the fences, does this, and its arrival order decides: reports that arrived earlier still
 * count.
 */
export function fenced(state: ProgressState, fence: number): ProgressState {
  return fence <= (state.fence ?? 0) ? state : { ...state, fence };
}

/**
 * Computes where to resume. Under ASK there is an answer unless another device acted at a materially different position
 * without the latest action's author knowing of it.
 */
export function resumeOf(state: ProgressState, policy: ResumePolicy = "LATEST_INTENT"): Resume {
  const { epoch, devices, furthest } = state;
  const last = latestIntent(devices);
  const answer = policy === "FURTHEST" ? furthest : (last ?? null);
  if (answer === null || last === undefined)
    return { epoch, answer: null, alternatives: [], furthest: furthest && pointOf(furthest) };

  const isOther = (row: Row): boolean => row.deviceId !== answer.deviceId || isUncounted(row);
  const others = devices.filter(isOther).map(({ latest }) => latest);
  if (policy === "FURTHEST" && last.deviceId === answer.deviceId) others.push(last);
  const elsewhere = others.filter((other) => isElsewhere(other, answer)).sort(latestFirst);
  const torn =
    policy === "ASK" &&
    devices.some(({ intended }) => intended !== null && intended.rev > last.baseRev && isElsewhere(intended, last));
  return {
    epoch,
    answer: torn ? null : pointOf(answer),
    alternatives: (torn ? [last, ...elsewhere] : elsewhere).map(pointOf),
    furthest: furthest && pointOf(furthest),
  };
}

function report(
  state: ProgressState,
  payload: Extract<ProgressPayload, { type: "REPORT" }>,
  context: Context,
): Applied<ProgressState> {
  const { stamp, deviceId, rev, baseRev } = context;
  const { epoch, position, duration, unit, intent } = payload;
  const isOver = isTakenOver(state, payload);
  if (epoch < state.epoch || (isOver && epoch > state.epoch))
    return { outcome: "SUPERSEDED", state, losers: [{ name: deviceId, value: position, deleted: false, stamp }] };

  const made: Report = { deviceId, position, duration, unit, intent, stamp, rev, baseRev };
  const current = epoch > state.epoch ? begun(state, epoch) : state;
  const row = current.devices.find((each) => each.deviceId === deviceId);
  const acted = intent === "PASSIVE" || isOver ? null : made;
  const latest = later(row?.latest ?? null, made);
  const intended = acted === null ? (row?.intended ?? null) : later(row?.intended ?? null, acted);
  const furthest = acted === null ? current.furthest : further(current.furthest, acted);
  const isNew = latest === made || (acted !== null && (intended === made || furthest === made));
  if (!isNew) return { outcome: "MERGED", state, losers: [] };

  const others = current.devices.filter((each) => each !== row);
  const devices = [...others, { deviceId, latest, intended }].sort(lastActedFirst).slice(0, MAX_DEVICES);
  devices.sort((one, other) => compareText(one.deviceId, other.deviceId));
  const stands = acted === null ? latest === made && !isOver : latestIntent(devices) === made;
  return { outcome: stands ? "APPLIED" : "MERGED", state: { ...current, devices, furthest }, losers: [] };
}

function isTakenOver(state: ProgressState, { fence }: Pick<ProgressPayload, "fence">): boolean {
  return fence !== undefined && fence < (state.fence ?? 0);
}

/** A new epoch, with nothing in it yet. */
function begun(state: ProgressState, epoch: number): ProgressState {
  return { ...state, epoch, devices: [], furthest: null };
}

function later(standing: Report | null, made: Report): Report {
  return standing !== null && compareStamps(standing.stamp, made.stamp) >= 0 ? standing : made;
}

/** Of two at the same position, the earlier. */
function further(standing: Report | null, made: Report): Report {
  if (standing === null || made.position > standing.position) return made;
  if (made.position < standing.position) return standing;
  return compareStamps(made.stamp, standing.stamp) < 0 ? made : standing;
}

/** The last action on that device came under a lease that had been taken over. */
function isUncounted({ latest, intended }: Row): boolean {
  return latest.intent !== "PASSIVE" && (intended === null || compareStamps(latest.stamp, intended.stamp) !== 0);
}

function latestIntent(devices: readonly Row[]): Report | undefined {
  return devices.flatMap(({ intended }) => (intended === null ? [] : [intended])).sort(latestFirst)[0];
}

function latestFirst(one: Report, other: Report): number {
  return compareStamps(other.stamp, one.stamp);
}

function lastActedFirst(one: Row, other: Row): number {
  if (one.intended === null || other.intended === null) {
    if (one.intended !== other.intended) return one.intended === null ? 1 : -1;
    return latestFirst(one.latest, other.latest);
  }
  return latestFirst(one.intended, other.intended);
}

/**
 * Whether two positions differ by more than 30 seconds and more than 1/50 of the total; smaller differences are
 * rounding, or the same moment.
 */
function isElsewhere(one: Report, other: Report): boolean {
  const whole = Math.max(one.duration ?? 0, other.duration ?? 0);
  const floor = one.unit === "SECONDS" ? 30 : 0;
  return Math.abs(one.position - other.position) > Math.max(floor, whole / 50);
}

function pointOf({ deviceId, position, duration, unit, intent, stamp }: Report): ResumePoint {
  return { deviceId, position, duration, unit, intent, stamp };
}
