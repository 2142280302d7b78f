/**
 * The truth about a simulated world, and what was promised about it. It knows when each change was really made, and what
 * the server said of it; it knows nothing of how changes merge.
 */
import { resumeOf, type Json, type KindName, type Stamp } from "@continuo/merge";
import { STATES, type PushRequest } from "@continuo/merge/protocol";
import { show, type Replica } from "@continuo/replica";
import { unitId } from "../entry/settle.ts";
import { viewOf } from "../entry/unit.ts";
import { DEFINITION, FIELDS, KINDS, payloadOf, wordsOf, type Field } from "./life.ts";
import type { Random } from "./random.ts";

/** A broken promise. */
export class Violation extends Error {
  override readonly name = "Violation";
}

/** A change that a person makes. Its payload carries a token, which no kind looks at, so that it is known wherever it is seen. */
export interface Made {
  readonly kind: KindName;
  readonly key: string;
  readonly field: string;
  readonly payload: { readonly type: string; readonly token: number } & { readonly [name: string]: Json };
}

interface Committed {
  readonly token: number;
  readonly status: string;
  readonly rev: number | null;
  readonly baseRev: number;
  readonly clientId: string;
  readonly stamp: Stamp | null;
  /** Of the push. */
  readonly headRev: number;
  /** Its author held a lease, and somebody else had taken it over before this was committed. */
  readonly isTakenOver: boolean;
  /** When it was committed. */
  readonly at: number;
}

/** What the server says of an op. */
export interface Told {
  readonly seq: number;
  readonly status: string;
  readonly rev: number | null;
  /** The effective one; null where it has none. */
  readonly stamp: Stamp | null;
  /** Of a repeated op: what it was told first, unless it was applied. */
  readonly first: { readonly status: string } | null;
}

/** What stands on the server. */
export interface Stood {
  readonly head: { readonly maxMs: number };
  /** By `unitId`. */
  readonly units: ReadonlyMap<string, { readonly kind: KindName; readonly state: Json; readonly deleted: boolean }>;
}

export interface Oracle {
  /** Of `field`, or of any. */
  invent(random: Random, replica: Replica, where: { key: string; field?: Field; isPoison: boolean }): Made;
  made(change: Made): void;
  /** The server has settled a push, and each op as `outcomes` say. */
  committed(push: { request: PushRequest; outcomes: readonly Told[]; headRev: number }): void;
  /** The film of `key` is somebody's whose lease has this fence. */
  takenOver(key: string, fence: number): void;
  /** How much has been committed: what a backup holds. */
  mark(): number;
  /** The server has lost all that came after the mark. */
  restored(mark: number): void;
  /** A device took something over. */
  shown(before: Replica, after: Replica): void;
  /** After each step. */
  check(stood: Stood): void;
  /** When all has come to rest; the last replica is one that began afresh. */
  end(stood: Stood, replicas: readonly Replica[]): void;
}

const DAY_MS = 24 * 3_600_000;
/** How long the server remembers what it answered, and whom. */
const ANSWERS_MS = 30 * DAY_MS;
const DEVICES_MS = 180 * DAY_MS;
/** A key that no server takes. */
const POISON = "";

/**
 * `travelMs`: how long a push may take, which is as exactly as the time of a change can be known; `fields`: what the
 * person uses; `hearsAll`: whether every commit is told, and in their order. A server that is killed may have committed
 * what it tells nobody; then the answer to a repetition shows it.
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
  /** By unit: how much of the log was of a text that is forgotten since. */
  const forgotten = new Map<string, number>();
  const fields = options.fields.map((field) => [field, FIELDS[field]] as const);

  function fail(promise: string, about: unknown): never {
    throw new Violation(`${promise}: ${JSON.stringify(about)}`);
  }
  const changeOf = (token: number): Made & { readonly at: number } =>
    all.get(token) ?? fail("a change that nobody made", token);
  /** What of one field the server has taken, in its order. */
  const takenOf = (key: string, field: string, from = 0): (Committed & Made & { readonly at: number })[] =>
    log
      .slice(from)
      .map((entry) => ({ ...entry, ...changeOf(entry.token) }))
      .filter((each) => each.key === key && each.field === field);

  return {
    invent(random, replica, { key, field: wanted, isPoison }) {
      const [field, kind] = random.pick(fields.filter(([name]) => name === (wanted ?? name)));
      const token = all.size + 1;
      const unit = { namespace: DEFINITION.name, key, field };
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
        const { fence } = changeOf(token).payload;
        const isTakenOver = typeof fence === "number" && fence < (fences.get(op.key) ?? 0);
        const entry = { token, status, rev, baseRev, clientId, stamp, headRev, isTakenOver, at: now() };
        if (status === "DUPLICATE") unheard.set(token, { ...entry, status: first?.status ?? "APPLIED", rev: null });
        else log.push(entry);
        if (changeOf(token).kind === "TEXT" && !forgotten.has(unitId(op))) forgotten.set(unitId(op), 0);
      }
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
      if (!hearsAll) {
        const heard = new Set(log.map(({ token }) => token));
        log = [...log, ...[...unheard.values()].filter(({ token }) => !heard.has(token))];
        log.sort((one, other) => one.headRev - other.headRev);
      }
      for (const { queue } of replicas) if (queue.length > 0) fail("every queue drains", queue);
      const refused = new Map(
        replicas.flatMap(({ rejected }) => rejected.map(({ op, reason }) => [tokenOf(op.payload), reason])),
      );
      const times = Map.groupBy(log, ({ token }) => token);
      for (const [token, change] of all) {
        const taken = times.get(token) ?? [];
        // A device that was forgotten meanwhile sends again what is the same when done twice.
        const isRepeatable = change.kind !== "COUNTER";
        const isTwice = taken.some((one, place) =>
          taken.slice(0, place).some((other) => one.clientId === other.clientId && one.at - other.at < DEVICES_MS),
        );
        if (taken.length > 1 && (isTwice || !isRepeatable)) fail("a change takes effect once", { change, taken });
        // Why something was refused is told again for a month.
        const isForgotten = now() - (refusedAt.get(token) ?? now()) > ANSWERS_MS;
        if (taken.length === 0 && !refused.has(token) && !lost.has(token) && !isForgotten)
          fail("nothing vanishes", change);
        const reason = refused.get(token);
        if (taken.length > 0 && reason !== undefined && reason !== "UNCERTAIN" && reason !== "GONE")
          fail("what is refused takes no effect", { change, taken });
      }

      const stand = new Map([...units].map(([id, unit]) => [id, unit.deleted ? undefined : viewOf(unit)]));
      const truth = canonical(units);
      for (const { entries } of replicas) {
        const told = canonical(entries);
        if (told !== truth) fail("all devices end with the same", { told, truth });
      }

      for (const key of new Set([...all.values()].map((each) => each.key)))
        for (const [field, kind] of fields) {
          const taken = takenOf(key, field);
          if (taken.length === 0) continue;
          const id = unitId({ namespace: DEFINITION.name, key, field });
          const value = stand.get(id);
          const state = units.get(id)?.state;
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
            assertLast(taken, stamp, value === undefined);
          }
          if (kind === "PROGRESS") {
            const { answer } = state === undefined ? { answer: null } : resumeOf(STATES.PROGRESS.parse(state));
            const isAnswer = ({ stamp }: Committed): boolean => JSON.stringify(stamp) === JSON.stringify(answer?.stamp);
            const stale = taken.filter(({ isTakenOver }) => isTakenOver).find(isAnswer);
            if (stale !== undefined) fail("a device that was taken over moves nothing", stale);
            const acted = taken.filter(({ payload, isTakenOver }) => payload["intent"] !== "PASSIVE" && !isTakenOver);
            if (answer?.intent === "PASSIVE") fail("what only reports never moves where one goes on", answer);
            if (acted.length > 0) assertLast(acted, answer?.stamp ?? null, answer === null);
          }
          if (kind === "SET") assertAddsWin(taken, Array.isArray(value) ? value : []);
          if (kind === "TEXT") assertWritten(takenOf(key, field, forgotten.get(id)), state);
        }
    },
  };

  function isUnheard({ token, stamp }: Committed): boolean {
    return stamp === null && unheard.has(token);
  }

  /** Of what was taken, nothing is really later than what stands, as far as times can be known. */
  function assertLast(
    taken: readonly (Committed & Made & { at: number })[],
    stamp: Stamp | null,
    isGone: boolean,
  ): void {
    const last = Math.max(...taken.map(({ at }) => at));
    const standing = isGone
      ? taken.filter(({ payload }) => payload.type === "DELETE")
      : taken.filter((each) => isUnheard(each) || JSON.stringify(each.stamp) === JSON.stringify(stamp));
    if (!standing.some(({ at }) => last - at <= travelMs))
      fail("who writes last, by true time, stands", { taken, stamp, isGone });
  }

  /** What was written since the text began is in it once, unless somebody took it out. */
  function assertWritten(taken: readonly (Committed & Made)[], state: Json | undefined): void {
    const { generation } = STATES.TEXT.parse(state ?? KINDS.TEXT.initial);
    const updates = taken.filter(
      ({ payload, status }) => payload["generation"] === generation && status !== "SUPERSEDED",
    );
    const removed = updates.map(({ payload }) => payload["removes"]);
    const inserted = new Set(updates.flatMap(({ payload }) => payload["inserts"] ?? []));
    const there = [...inserted].filter((word) => !removed.includes(word));
    const words = state === undefined ? [] : wordsOf(state).map(({ token }) => token);
    if (JSON.stringify(words.toSorted(compareNumbers)) !== JSON.stringify(there.map(Number).toSorted(compareNumbers)))
      fail("what was written is in the text, once", { there, words });
  }

  /** An element is there exactly if somebody added it whom no remover had heard of. */
  function assertAddsWin(taken: readonly (Committed & Made)[], elements: readonly Json[]): void {
    for (const name of new Set(taken.map(({ payload }) => payload["element"]))) {
      const about = taken.filter(({ payload }) => payload["element"] === name);
      if (about.some(isUnheard)) continue;
      const left = about.filter(
        (one, place) =>
          one.payload.type === "ADD" &&
          !about
            .slice(place + 1)
            .some(
              ({ payload, baseRev, clientId }) =>
                payload.type === "REMOVE" && (clientId === one.clientId || (one.rev !== null && one.rev <= baseRev)),
            ),
      );
      if (left.length > 0 !== elements.includes(name ?? null))
        fail("a removal takes what its author had seen", { about, elements });
    }
  }
}

/** All that is there, the same text for the same. */
function canonical(units: ReadonlyMap<string, { deleted: boolean; state: Json; kind: KindName }>): string {
  const lines = [...units].flatMap(([id, { deleted, state, kind }]) =>
    deleted ? [] : [JSON.stringify([id, kind, state])],
  );
  return lines.toSorted(compareText).join("\n");
}

function compareText(left: string, right: string): number {
  return left < right ? -1 : left > right ? 1 : 0;
}

function compareNumbers(left: number, right: number): number {
  return left - right;
}

function tokenOf(payload: unknown): number {
  const isTold = typeof payload === "object" && payload !== null && "token" in payload;
  return isTold ? Number(payload.token) : 0;
}
