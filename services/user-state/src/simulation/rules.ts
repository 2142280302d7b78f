/**
 * The promises about each field, checked against everything that was really done to it, independently of how it merges.
 */
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

/**
 * A change made by the person. Its payload carries a token, which every kind ignores, so that the change is recognised
 * anywhere.
 */
export interface Made {
  readonly kind: KindName;
  readonly key: string;
  readonly field: Field;
  readonly payload: { readonly type: string; readonly token: number } & { readonly [name: string]: Json };
}

/** An op that the server has accepted. */
export interface Committed {
  readonly token: number;
  readonly status: string;
  readonly rev: number | null;
  readonly baseRev: number;
  readonly clientId: string;
  readonly stamp: Stamp | null;
  /** The push's headRev. */
  readonly headRev: number;
  /** The author's lease had been taken over by another device before this was committed. */
  readonly isTakenOver: boolean;
  /** The latest possible time of the commit: when the oracle learned of it. */
  readonly committedAt: number;
  /** The earliest possible time of the commit. */
  readonly committedFrom: number;
  /** Known only from the answer to a retry. */
  readonly isUnheard: boolean;
}

/** An accepted change, and when it was really made. */
export type Taken = Committed & Made & { readonly at: number };

export function fail(promise: string, about: unknown): never {
  throw new Violation(`${promise}: ${JSON.stringify(about)}`);
}

/** Asserts that no accepted change is really later than the standing one, within the precision `travelMs`. */
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

/** Asserts that every word written since the text began is in it once, unless somebody removed it. */
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

/** Asserts that an element is present exactly if some addition of it had not been seen by anyone who removed it. */
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

/**
 * Asserts that a TTL unit is there until it expires and not after, and that nothing from before its expiry comes back.
 */
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

/**
 * The changes certainly accepted since the last expiry: a chain of changes leads from each to now, none too late for
 * the one before.
 */
function surelySinceOver(taken: readonly Taken[], now: number): readonly Taken[] {
  let since = now;
  for (const { committedFrom, committedAt } of latestFirst(taken))
    if (committedFrom > since - BRIEF_MS) since = Math.min(since, committedAt);
  return taken.filter(({ committedFrom }) => committedFrom > since - BRIEF_MS);
}

/** The changes possibly accepted since the last expiry: no later gap was certainly long enough to expire. */
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

/** Asserts that usage counts exactly what is there; tombstones count for nothing, including those of numbers. */
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
