/** Quotas: how much of a person's state is kept. They refuse growth alone; who holds too much can always make it less. */
import { jsonBytes } from "@continuo/merge";
import { KINDS_THAT_STAY, viewOf, weightOf, type Amount, type Unit, type UnitName, type Weighed } from "./unit.ts";

/** Of one person unless the environment says something else, and of each namespace of theirs. */
export const DEFAULT_QUOTA: Amount = { entries: 5_000, bytes: 5 * 1024 * 1024 };

/**
 * So many times what the quota allows may be stored in all. Deletions and what lost are remembered beside what is kept, and
 * count for nothing in it, as nobody could make room of them; but they are bounded, too.
 */
const STORED_RATIO = 4;
/** What is stored of an entry beside its value: names and stamps. */
const BYTES_AROUND = 256;

/** What a person keeps; `stored` are the bytes of all there is of it, tombstones included. */
export interface Usage extends Amount {
  readonly namespaces: Readonly<Record<string, Amount & { readonly stored?: number }>>;
}

export interface Growth extends Amount {
  readonly stored: number;
}

/** What it adds to what a person keeps when a unit becomes another; undefined is nothing. */
export function growthOf(name: UnitName, before: Weighed | undefined, after: Weighed | undefined): Growth {
  return {
    ...difference(weightOf(after, name), weightOf(before, name)),
    stored: (after?.bytes ?? 0) - (before?.bytes ?? 0),
  };
}

/** `usage` with so much more in a namespace. */
export function grown(usage: Usage, namespace: string, growth: Growth): Usage {
  const before = usageOf(usage, namespace);
  const ofNamespace = { ...sum(before, growth), stored: before.stored + growth.stored };
  return { ...sum(usage, growth), namespaces: { ...usage.namespaces, [namespace]: ofNamespace } };
}

/** `usage` after a unit became another. */
export function usageAfter(
  usage: Usage,
  name: UnitName,
  before: Weighed | undefined,
  after: Weighed | undefined,
): Usage {
  return grown(usage, name.namespace, growthOf(name, before, after));
}

/** What is left of the tighter of two quotas; negative when one was lowered. */
export function remaining(usage: Usage, namespace: string, quota: { user: Amount; namespace: Amount }): Amount {
  const ofUser = difference(quota.user, usage);
  const ofNamespace = difference(quota.namespace, usageOf(usage, namespace));
  return tighter(ofUser, ofNamespace);
}

export function tighter(one: Amount, other: Amount): Amount {
  return { entries: Math.min(one.entries, other.entries), bytes: Math.min(one.bytes, other.bytes) };
}

/** Whether a unit may become another with this much left, by the growth that it is. */
export function mayBecome(before: Unit | undefined, after: Unit, growth: Amount, left: Amount): boolean {
  if (growth.entries > 0 && left.entries < growth.entries) return false;
  if (growth.bytes <= 0 || left.bytes >= growth.bytes) return true;
  return growth.entries === 0 && (isOfFixedSize(after) || viewBytes(after) <= viewBytes(before));
}

/** Bytes that may still be stored, in all; negative when a quota was lowered. */
export function storable({ namespaces }: Usage, { entries, bytes }: Amount): number {
  const stored = Object.values(namespaces).reduce((total, each) => total + (each.stored ?? 0), 0);
  return STORED_RATIO * (bytes + entries * BYTES_AROUND) - stored;
}

/** Whether there is room for what is remembered. Whoever makes less of what is shown always has it. */
export function mayStore(growth: Growth, left: number): boolean {
  return growth.stored <= Math.max(0, left) || growth.entries < 0 || growth.bytes < 0;
}

/** A number that gets another digit has not grown in any way that its author could help. */
function isOfFixedSize({ kind }: Unit): boolean {
  return KINDS_THAT_STAY.includes(kind) || kind === "PROGRESS";
}

/** A state may grow by what it remembers of a removal. */
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
