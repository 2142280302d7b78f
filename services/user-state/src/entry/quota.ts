/** Quotas: how much of a person's state is kept. They refuse growth alone; who holds too much can always make it less. */
import { jsonBytes } from "@continuo/merge";
import { KINDS_THAT_STAY, viewOf, weightOf, type Amount, type Unit, type UnitName, type Weighed } from "./unit.ts";

/** Of one person unless the environment says something else, and of each namespace of theirs. */
export const DEFAULT_QUOTA: Amount = { entries: 5_000, bytes: 5 * 1024 * 1024 };

/** What a person keeps. */
export interface Usage extends Amount {
  readonly namespaces: Readonly<Record<string, Amount>>;
}

/** What it adds to what a person keeps when a unit becomes another; undefined is nothing. */
export function growthOf(name: UnitName, before: Weighed | undefined, after: Weighed | undefined): Amount {
  return difference(weightOf(after, name), weightOf(before, name));
}

/** `usage` with so much more in a namespace. */
export function grown(usage: Usage, namespace: string, growth: Amount): Usage {
  const ofNamespace = sum(usageOf(usage, namespace), growth);
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

/** A number that gets another digit has not grown in any way that its author could help. */
function isOfFixedSize({ kind }: Unit): boolean {
  return KINDS_THAT_STAY.includes(kind) || kind === "PROGRESS";
}

/** A state may grow by what it remembers of a removal. */
function viewBytes(unit: Unit | undefined): number {
  return unit === undefined ? 0 : jsonBytes(viewOf(unit) ?? null);
}

function usageOf({ namespaces }: Usage, namespace: string): Amount {
  return namespaces[namespace] ?? { entries: 0, bytes: 0 };
}

function sum(one: Amount, other: Amount): Amount {
  return { entries: one.entries + other.entries, bytes: one.bytes + other.bytes };
}

function difference(one: Amount, other: Amount): Amount {
  return { entries: one.entries - other.entries, bytes: one.bytes - other.bytes };
}
