/**
 * Quotas: how much state a person may store. They refuse only growth; a person over quota can always shrink their
 * state.
 */
import { jsonBytes } from "@continuo/merge";
import { KINDS_THAT_STAY, viewOf, weightOf, type Amount, type Unit, type UnitName, type Weighed } from "./unit.ts";

/** The default quota of one person, unless the environment sets another, and of each of their namespaces. */
export const DEFAULT_QUOTA: Amount = { entries: 5_000, bytes: 5 * 1024 * 1024 };

/**
 * In total, this many times the quota may be stored. Remembered deletions and lost writes do not count towards the
 * quota, because nobody could free their space; this bounds them as well.
 */
const STORED_RATIO = 4;
/** What is stored for an entry besides its value: names and stamps. */
const BYTES_AROUND = 256;

/** What a person has stored; `stored` is the size in bytes of everything, tombstones included. */
export interface Usage extends Amount {
  readonly namespaces: Readonly<Record<string, Amount & { readonly stored?: number }>>;
}

export interface Growth extends Amount {
  readonly stored: number;
}

/** The growth of a person's usage when a unit changes from `before` to `after`; undefined: no unit. */
export function growthOf(name: UnitName, before: Weighed | undefined, after: Weighed | undefined): Growth {
  return {
    ...difference(weightOf(after, name), weightOf(before, name)),
    stored: (after?.bytes ?? 0) - (before?.bytes ?? 0),
  };
}

/** `usage` after `growth` in a namespace. */
export function grown(usage: Usage, namespace: string, growth: Growth): Usage {
  const before = usageOf(usage, namespace);
  const ofNamespace = { ...sum(before, growth), stored: before.stored + growth.stored };
  return { ...sum(usage, growth), namespaces: { ...usage.namespaces, [namespace]: ofNamespace } };
}

/** `usage` after a unit changed from `before` to `after`. */
export function usageAfter(
  usage: Usage,
  name: UnitName,
  before: Weighed | undefined,
  after: Weighed | undefined,
): Usage {
  return grown(usage, name.namespace, growthOf(name, before, after));
}

/** The remainder of the tighter of two quotas; negative when one was lowered. */
export function remaining(usage: Usage, namespace: string, quota: { user: Amount; namespace: Amount }): Amount {
  const ofUser = difference(quota.user, usage);
  const ofNamespace = difference(quota.namespace, usageOf(usage, namespace));
  return tighter(ofUser, ofNamespace);
}

export function tighter(one: Amount, other: Amount): Amount {
  return { entries: Math.min(one.entries, other.entries), bytes: Math.min(one.bytes, other.bytes) };
}

/** Whether a unit may change with this much quota left, given the growth of the change. */
export function fitsQuota(before: Unit | undefined, after: Unit, growth: Amount, left: Amount): boolean {
  if (growth.entries > 0 && left.entries < growth.entries) return false;
  if (growth.bytes <= 0 || left.bytes >= growth.bytes) return true;
  return growth.entries === 0 && (isOfFixedSize(after) || viewBytes(after) <= viewBytes(before));
}

/** The bytes that may still be stored in total; negative when a quota was lowered. */
export function storable({ namespaces }: Usage, { entries, bytes }: Amount): number {
  const stored = Object.values(namespaces).reduce((total, each) => total + (each.stored ?? 0), 0);
  return STORED_RATIO * (bytes + entries * BYTES_AROUND) - stored;
}

/** Whether there is room for what is remembered. A change that shrinks what is shown always has room. */
export function fitsStorage(growth: Growth, left: number): boolean {
  return growth.stored <= Math.max(0, left) || growth.entries < 0 || growth.bytes < 0;
}

/** A number that gains a digit has not grown in a way its author could avoid. */
function isOfFixedSize({ kind }: Unit): boolean {
  return KINDS_THAT_STAY.includes(kind) || kind === "PROGRESS";
}

/** Measures the view, because a removal may make the state itself grow. */
function viewBytes(unit: Unit | undefined): number {
  return unit === undefined ? 0 : jsonBytes(viewOf(unit) ?? null);
}

function usageOf({ namespaces }: Usage, namespace: string): Growth {
  return { entries: 0, bytes: 0, stored: 0, ...namespaces[namespace] };
}

function sum(one: Amount, other: Amount): Amount {
  return { entries: one.entries + other.entries, bytes: one.bytes + other.bytes };
}

function difference(one: Amount, other: Amount): Amount {
  return { entries: one.entries - other.entries, bytes: one.bytes - other.bytes };
}
