/** What was promised of a field, held against all that was really done to it; whatever merges it. */
import type { Json, KindName, Stamp } from "@continuo/merge";
import { STATES } from "@continuo/merge/protocol";
import { usageAfter, type Usage } from "../entry/quota.ts";
import type { Change } from "../entry/push.ts";
import { KINDS_THAT_STAY } from "../entry/unit.ts";
import { BRIEF_MS, KINDS, wordsOf, type Field } from "./life.ts";

/** A broken promise. */
export class Violation extends Error {
  override readonly name = "Violation";
}

/** A change that a person makes. Its payload carries a token, which no kind looks at, so that it is known wherever it is seen. */
export interface Made {
  readonly kind: KindName;
  readonly key: string;
  readonly field: Field;
  readonly payload: { readonly type: string; readonly token: number } & { readonly [name: string]: Json };
}

/** An op that the server has taken. */
export interface Committed {
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
  /** At the latest: when it was heard. */
  readonly committedAt: number;
  /** At the earliest. */
  readonly committedFrom: number;
  /** An answer to a repetition is all that was heard of it. */
  readonly isUnheard: boolean;
}

/** A change that was taken, and when it was really made. */
export type Taken = Committed & Made & { readonly at: number };

export function fail(promise: string, about: unknown): never {
  throw new Violation(`${promise}: ${JSON.stringify(about)}`);
}

/** Of what was taken, nothing is really later than what stands, as far as times can be known: `travelMs` apart. */
export function assertLast(
  taken: readonly Taken[],
  stamp: Stamp | null,
  { isGone, travelMs }: { isGone: boolean; travelMs: number },
): void {
  const last = Math.max(...taken.map(({ at }) => at));
  const standing = isGone
    ? taken.filter(({ payload }) => payload.type === "DELETE")
    : taken.filter((each) => each.isUnheard || JSON.stringify(each.stamp) === JSON.stringify(stamp));
  if (!standing.some(({ at }) => last - at <= travelMs))
    fail("who writes last, by true time, stands", { taken, stamp, isGone });
}

/** What was written since the text began is in it once, unless somebody took it out. */
export function assertWritten(taken: readonly Taken[], state: Json | undefined): void {
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
export function assertAddsWin(taken: readonly Taken[], elements: readonly Json[]): void {
  for (const name of new Set(taken.map(({ payload }) => payload["element"]))) {
    const about = taken.filter(({ payload }) => payload["element"] === name);
    if (about.some(({ isUnheard }) => isUnheard)) continue;
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

/** Of what is kept for a while: there until its time is up, then not, and nothing comes back that was before. */
export function assertBrief(
  taken: readonly Taken[],
  { kind, value, stamp }: { kind: KindName; value: Json | undefined; stamp: Stamp | null },
  { now, travelMs }: { now: number; travelMs: number },
): void {
  const isGone = value === undefined;
  const committed = Math.max(...taken.map(({ committedAt }) => committedAt));
  if (!isGone && now >= committed + BRIEF_MS) fail("what is over is not shown", { taken, value, now });
  if (kind === "COUNTER") {
    const [least, most] = [surelySinceOver(taken, now), possiblySinceOver(taken, now)];
    const sum = Number(value ?? 0);
    if ((isGone && least.length > 0) || sum < sumOf(least) || sum > sumOf(most))
      fail("each count counts once", { taken, value, least, most });
    return;
  }
  if (!isGone) assertLast(taken, stamp, { isGone, travelMs });
  const made = Math.max(...taken.map(({ at }) => at));
  const latest = taken.filter(({ at }) => made - at <= travelMs);
  const isDue = latest.every((each) => each.payload.type === "SET" && now < each.committedFrom + BRIEF_MS);
  if (isGone && isDue) fail("what is kept for a while is there until then", { taken, now });
}

const sumOf = (counted: readonly Taken[]): number =>
  counted.reduce((total, { payload }) => total + Number(payload["delta"]), 0);

/** What was taken since it was over the last time: from each of them others lead up to now, none too late for the one before. */
function surelySinceOver(taken: readonly Taken[], now: number): readonly Taken[] {
  let since = now;
  for (const { committedFrom, committedAt } of latestFirst(taken))
    if (committedFrom > since - BRIEF_MS) since = Math.min(since, committedAt);
  return taken.filter(({ committedFrom }) => committedFrom > since - BRIEF_MS);
}

/** What may have been taken since: there was no time after it that was surely long enough. */
function possiblySinceOver(taken: readonly Taken[], now: number): readonly Taken[] {
  let since = now;
  for (const { committedFrom, committedAt } of latestFirst(taken)) {
    if (since - committedAt >= BRIEF_MS) break;
    since = Math.min(since, committedFrom);
  }
  return taken.filter(({ committedAt }) => since - committedAt < BRIEF_MS);
}

const latestFirst = (taken: readonly Taken[]): readonly Taken[] =>
  taken.toSorted((one, other) => other.committedAt - one.committedAt);

/** What counts against a quota is what is there; a tombstone is nothing, also that of a number. */
export function assertCounted({ entries, bytes, namespaces }: Usage, units: Iterable<Change>): void {
  const none: Usage = { entries: 0, bytes: 0, namespaces: {} };
  const there = [...units].filter(({ deleted, kind }) => !deleted || !KINDS_THAT_STAY.includes(kind));
  const counted = there.reduce((sum, unit) => usageAfter(sum, unit, undefined, unit), none);
  if (entries !== counted.entries || bytes !== counted.bytes || storedIn(namespaces) !== storedIn(counted.namespaces))
    fail("what counts against a quota is what is there", { entries, bytes, namespaces, counted });
}

function storedIn(namespaces: Usage["namespaces"]): number {
  return Object.values(namespaces).reduce((sum, { stored = 0 }) => sum + stored, 0);
}

function compareNumbers(left: number, right: number): number {
  return left - right;
}
