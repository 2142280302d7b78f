/**
 * The truth about a simulated world, and the promises made about it. The oracle knows when each change was really made,
 * and what the server answered; it does not know how changes merge.
 */
import { resumeOf, type Json, type KindName, type Stamp } from "@continuo/merge";
import { STATES, type PushRequest } from "@continuo/merge/protocol";
import { show, type Replica } from "@continuo/replica";
import { unitId, viewOf, type UnitName } from "../entry/unit.ts";
import { BRIEF_FIELDS, FIELDS, isBrief, KINDS, NAMES, payloadOf, unitOf, type Field } from "./life.ts";
import type { Random } from "./random.ts";
import {
  assertAddsWin,
  assertBrief,
  assertLast,
  assertWritten,
  fail,
  type Committed,
  type Made,
  type Taken,
} from "./rules.ts";

/** The server's outcome of an op. */
export interface Told {
  readonly seq: number;
  readonly status: string;
  readonly rev: number | null;
  /** The effective stamp; null where there is none. */
  readonly stamp: Stamp | null;
  /** For a repeated op: its original outcome, unless that was APPLIED. */
  readonly first: { readonly status: string } | null;
}

/** The server's current state. */
export interface Stood {
  readonly head: { readonly maxMs: number };
  /** By `unitId`. */
  readonly units: ReadonlyMap<string, StoodUnit>;
}

export interface StoodUnit {
  readonly kind: KindName;
  readonly state: Json;
  readonly deleted: boolean;
  readonly expiresAt?: number | null | undefined;
}

export interface Oracle {
  /** Invents a change of `field`, or of a random one. */
  invent(random: Random, replica: Replica, where: { key: string; field?: Field; isPoison: boolean }): Made;
  made(change: Made): void;
  /** The server has settled a push with these outcomes. */
  committed(push: { request: PushRequest; outcomes: readonly Told[]; headRev: number }): void;
  /** The person has erased these namespaces, or everything. Unless `hearsAll`, nothing may be in transit. */
  erased(namespaces: readonly string[] | undefined): void;
  /** The server has returned these entries to a reader. */
  told(entries: Iterable<StoodUnit & UnitName>): void;
  /** The film of `key` now belongs to the holder of this fence. */
  takenOver(key: string, fence: number): void;
  /** The length of the commit log: what a backup contains. */
  mark(): number;
  /** The server has lost everything committed after the mark. */
  restored(mark: number): void;
  /** A device has received something. */
  shown(before: Replica, after: Replica): void;
  /** After each step. */
  check(stood: Stood): void;
  /** Asserts that expired units were cleaned up on the server and on every replica. */
  expireAndRetain(stood: Stood, replicas: readonly Replica[]): void;
  /** Asserts that devices cut off for the lifetime of brief units show none of them. */
  alone(devices: Iterable<{ shows(key: string, field: Field): Json | undefined }>): void;
  /** Asserts the final promises once everything has settled; the last replica is a new one. */
  end(stood: Stood, replicas: readonly Replica[]): void;
}

const DAY_MS = 24 * 3_600_000;
/** How long the server remembers outcomes and replicas. */
const ANSWERS_MS = 30 * DAY_MS;
const DEVICES_MS = 180 * DAY_MS;
/** A key that every server rejects. */
const POISON = "";

/**
 * `travelMs`: the longest a push may take, which limits how exactly the time of a change is known. `fields`: what the
 * person uses. `hearsAll`: whether every commit is reported, and in order. A server that is killed may have committed
 * changes it never acknowledged; then the answer to a retry reveals them.
 */
export function createOracle(options: {
  now: () => number;
  travelMs: number;
  fields: readonly Field[];
  hearsAll: boolean;
}): Oracle {
  const { now, travelMs, hearsAll } = options;
  const all = new Map<number, Made & { readonly at: number }>();
  let log: Committed[] = [];
  const unheard = new Map<number, Committed>();
  const lost = new Set<number>();
  const refusedAt = new Map<number, number>();
  /** By key, the highest. */
  const fences = new Map<string, number>();
  let wasRestored = false;
  /** By unit: how much of the log belongs to a text that has been forgotten since. */
  const forgotten = new Map<string, number>();
  /** By namespace: how much of the log, and how many of the changes made, precede its last erasure. */
  const erasures = new Map<string, { readonly committed: number; readonly made: number }>();
  const fields = options.fields.map((field) => [field, FIELDS[field]] as const);

  const changeOf = (token: number): Made & { readonly at: number } =>
    all.get(token) ?? fail("a change that nobody made", token);
  /** The changes of one field that the server accepted, in order. */
  const takenOf = (key: string, field: string, from = 0): Taken[] =>
    log
      .slice(Math.max(from, erasures.get(unitOf(key, field).namespace)?.committed ?? 0))
      .map((entry) => ({ ...entry, ...changeOf(entry.token) }))
      .filter((each) => each.key === key && each.field === field);

  const isOver = ({ deleted, expiresAt }: StoodUnit): boolean =>
    deleted || (expiresAt ?? Number.POSITIVE_INFINITY) <= now();

  function assertBriefly(key: string, field: string, unit: StoodUnit, isGone: boolean): void {
    const { kind, state } = unit;
    const stamp = kind === "REGISTER" ? (STATES.REGISTER.parse(state).standing?.stamp ?? null) : null;
    if (wasRestored && kind === "REGISTER") return;
    assertBrief(
      takenOf(key, field),
      { kind, value: isGone ? undefined : viewOf(unit), stamp },
      { now: now(), travelMs },
    );
  }

  /** Inserts changes known only from answers to retries at their place in the log. */
  function setInOrder(): void {
    if (hearsAll) return;
    const heard = new Set(log.map(({ token }) => token));
    log = [...log, ...[...unheard.values()].filter(({ token }) => !heard.has(token))];
    log.sort((one, other) => one.headRev - other.headRev);
    unheard.clear();
  }

  return {
    invent(random, replica, { key, field: wanted, isPoison }) {
      const [field, kind] = random.pick(fields.filter(([name]) => name === (wanted ?? name)));
      const token = all.size + 1;
      const unit = unitOf(key, field);
      const payload = payloadOf(random, kind, token, () => show(replica, unit, kind, KINDS).state);
      return { kind, key: isPoison ? POISON : key, field, payload: { ...payload, token } };
    },

    made(change) {
      all.set(change.payload.token, { ...change, at: now() });
    },

    committed({ request, outcomes, headRev }) {
      for (const { seq, status, rev, stamp, first } of outcomes) {
        const op = request.ops.find((each) => each.seq === seq) ?? fail("an outcome of nothing", seq);
        const token = tokenOf(op.payload);
        const { baseRev } = op;
        const { clientId } = request;
        if (status === "REJECTED") refusedAt.set(token, now());
        if (status === "REJECTED" || first?.status === "REJECTED") continue;
        if (status !== "DUPLICATE" && token <= (erasures.get(op.namespace)?.made ?? 0))
          fail("what was erased stays away", { op, status });
        const { fence } = changeOf(token).payload;
        const isTakenOver = typeof fence === "number" && fence < (fences.get(op.key) ?? 0);
        const isUnheard = status === "DUPLICATE";
        const about = { token, status, rev, baseRev, clientId, stamp, headRev };
        const committedFrom = hearsAll ? now() : changeOf(token).at;
        const entry = { ...about, isTakenOver, committedAt: now(), committedFrom, isUnheard };
        if (isUnheard) unheard.set(token, { ...entry, status: first?.status ?? "APPLIED", rev: null });
        else log.push(entry);
        if (changeOf(token).kind === "TEXT" && !forgotten.has(unitId(op))) forgotten.set(unitId(op), 0);
      }
    },

    erased(namespaces = NAMES) {
      setInOrder();
      for (const name of namespaces) erasures.set(name, { committed: log.length, made: all.size });
    },

    told(entries) {
      for (const { key, field, ...unit } of entries) if (isBrief(field)) assertBriefly(key, field, unit, unit.deleted);
    },

    takenOver(key, fence) {
      fences.set(key, Math.max(fence, fences.get(key) ?? 0));
    },

    mark: () => log.length,

    restored(mark) {
      for (const { token } of log.slice(mark)) lost.add(token);
      log = log.slice(0, mark);
      wasRestored = true;
    },

    expireAndRetain({ units }, replicas) {
      for (const known of [units, ...replicas.map(({ entries }) => entries)])
        for (const key of new Set([...all.values()].map((change) => change.key)))
          for (const field of BRIEF_FIELDS) {
            const unit = known.get(unitId(unitOf(key, field)));
            if (unit?.deleted === false) fail("what is over is put away everywhere", { key, field, unit });
          }
    },

    alone(devices) {
      for (const device of devices)
        for (const { kind, key, field } of all.values()) {
          const value = device.shows(key, field);
          if (isBrief(field) && value !== viewOf({ kind, state: KINDS[kind].initial }))
            fail("what is over is shown nowhere", { key, field, value });
        }
    },

    shown(before, after) {
      if (before.epoch !== after.epoch || before.clientId !== after.clientId) return;
      if (after.rev < before.rev) fail("what a device has seen it does not see less of", [before.rev, after.rev]);
    },

    check({ head, units }) {
      if (head.maxMs > now() + 1) fail("no stamp is from the future", head.maxMs - now());
      for (const id of forgotten.keys()) if (!units.has(id)) forgotten.set(id, log.length);
      for (const unit of units.values()) {
        if (unit.kind !== "DRAFT") continue;
        const { generation, fields: written } = STATES.DRAFT.parse(unit.state);
        for (const { writes } of written)
          for (const { value } of writes) {
            const edit = changeOf(Number(typeof value === "string" ? value.slice(1) : 0));
            if (edit.payload["generation"] !== generation) fail("a draft that was sent stays sent", [generation, edit]);
          }
      }
    },

    end({ units }, replicas) {
      setInOrder();
      for (const { queue } of replicas) if (queue.length > 0) fail("every queue drains", queue);
      const refused = new Map(
        replicas.flatMap(({ rejected }) => rejected.map(({ op, reason }) => [tokenOf(op.payload), reason])),
      );
      const times = Map.groupBy(log, ({ token }) => token);
      for (const [token, change] of all) {
        const taken = times.get(token) ?? [];
        // A device that was forgotten resends changes that are safe to apply twice.
        const isRepeatable = change.kind !== "COUNTER";
        const isTwice = taken.some((one, place) =>
          taken
            .slice(0, place)
            .some((other) => one.clientId === other.clientId && one.committedAt - other.committedAt < DEVICES_MS),
        );
        if (taken.length > 1 && (isTwice || !isRepeatable)) fail("a change takes effect once", { change, taken });
        // Rejection reasons are remembered for 30 days.
        const isForgotten = now() - (refusedAt.get(token) ?? now()) > ANSWERS_MS;
        if (taken.length === 0 && !refused.has(token) && !lost.has(token) && !isForgotten)
          fail("nothing vanishes", change);
        const reason = refused.get(token);
        if (taken.length > 0 && reason !== undefined && reason !== "UNCERTAIN" && reason !== "GONE")
          fail("what is refused takes no effect", { change, taken });
      }

      const stand = new Map([...units].map(([id, unit]) => [id, isOver(unit) ? undefined : viewOf(unit)]));
      const truth = canonical(units, isOver);
      for (const { entries } of replicas) {
        const told = canonical(entries, isOver);
        if (told !== truth) fail("all devices end with the same", { told, truth });
      }

      for (const key of new Set([...all.values()].map((each) => each.key)))
        for (const [field, kind] of fields) {
          const taken = takenOf(key, field);
          const id = unitId(unitOf(key, field));
          const value = stand.get(id);
          if (taken.length === 0 && value !== undefined) fail("what was erased stays away", { key, field, value });
          if (taken.length === 0) continue;
          const unit = units.get(id);
          const state = unit?.state;
          if (isBrief(field)) {
            if (unit !== undefined) assertBriefly(key, field, unit, isOver(unit));
            continue;
          }
          if (kind === "COUNTER") {
            const sum = taken.reduce((total, { payload }) => total + Number(payload["delta"]), 0);
            if (value !== sum) fail("each count counts once", { value, sum });
          }
          if (kind === "MAX") {
            const most = Math.max(...taken.map(({ payload }) => Number(payload["value"])));
            if (value !== most) fail("the largest stands", { value, most });
          }
          if (kind === "LIST") {
            const ids = [...new Set(taken.map(({ payload }) => `${payload.token}`))].toSorted(compareText);
            const there = (Array.isArray(value) ? value : [])
              .map((element) => `${element.value}`)
              .toSorted(compareText);
            if (JSON.stringify(ids) !== JSON.stringify(there))
              fail("what was put into a list is there, once", { ids, there });
          }
          if (wasRestored) continue;
          if (kind === "REGISTER") {
            const stamp = state === undefined ? null : (STATES.REGISTER.parse(state).standing?.stamp ?? null);
            assertLast(taken, stamp, { isGone: value === undefined, travelMs });
          }
          if (kind === "PROGRESS") {
            const { answer } = state === undefined ? { answer: null } : resumeOf(STATES.PROGRESS.parse(state));
            const isAnswer = ({ stamp }: Committed): boolean => JSON.stringify(stamp) === JSON.stringify(answer?.stamp);
            const stale = taken.filter(({ isTakenOver }) => isTakenOver).find(isAnswer);
            if (stale !== undefined) fail("a device that was taken over moves nothing", stale);
            const acted = taken.filter(({ payload, isTakenOver }) => payload["intent"] !== "PASSIVE" && !isTakenOver);
            if (acted.length > 0) assertLast(acted, answer?.stamp ?? null, { isGone: answer === null, travelMs });
            else if (answer !== null) fail("what only reports never moves where one goes on", answer);
          }
          if (kind === "SET") assertAddsWin(taken, Array.isArray(value) ? value : []);
          if (kind === "TEXT") assertWritten(takenOf(key, field, forgotten.get(id)), state);
        }
    },
  };
}

/** All live units as a canonical text. */
function canonical(units: Stood["units"], isOver: (unit: StoodUnit) => boolean): string {
  const lines = [...units].flatMap(([id, unit]) => (isOver(unit) ? [] : [JSON.stringify([id, unit.kind, unit.state])]));
  return lines.toSorted(compareText).join("\n");
}

function compareText(left: string, right: string): number {
  return left < right ? -1 : left > right ? 1 : 0;
}

function tokenOf(payload: unknown): number {
  const isTold = typeof payload === "object" && payload !== null && "token" in payload;
  return isTold ? Number(payload.token) : 0;
}
