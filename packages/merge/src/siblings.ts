/**
 * Siblings: concurrent writes of one register, kept side by side because none of their authors knew of the others; the
 * latest is shown. A write replaces the siblings its author had seen, so causality beats clocks, and deleting a seen
 * write never loses an unseen one.
 */
import { hasSeen, type Context, type Write } from "./kind.ts";
import { compareText } from "./json.ts";
import { compareStamps } from "./stamp.ts";

export interface Sibling extends Write {
  /** The revision of the write. */
  readonly rev: number;
}

/** A named register. */
interface Named {
  readonly name: string;
  readonly writes: readonly Sibling[];
}

/** The siblings after a write, latest first. */
export function writeOver(
  siblings: readonly Sibling[],
  written: Pick<Write, "value" | "deleted">,
  context: Context,
): readonly Sibling[] {
  const { value, deleted } = written;
  const { stamp, rev } = context;
  const all = [...unseen(siblings, context), { value, deleted, stamp, rev }];
  return all.sort((one, other) => compareStamps(other.stamp, one.stamp));
}

/** The union of both sides' siblings; returns the same object when `others` adds nothing. */
function joinSiblings(siblings: readonly Sibling[], others: readonly Sibling[]): readonly Sibling[] {
  const added = others.filter(({ stamp }) => siblings.every((known) => compareStamps(known.stamp, stamp) !== 0));
  if (added.length === 0) return siblings;
  return [...siblings, ...added].sort((one, other) => compareStamps(other.stamp, one.stamp));
}

/** The joined registers of both sides, in order of name; returns the same object when `others` adds nothing. */
export function joinRegistersByName(registers: readonly Named[], others: readonly Named[]): readonly Named[] {
  const known = new Map(registers.map((register) => [register.name, register]));
  const joined = others.map((other) => {
    const register = known.get(other.name);
    if (register === undefined) return other;
    const writes = joinSiblings(register.writes, other.writes);
    return writes === register.writes ? register : { ...register, writes };
  });
  const changed = joined.filter((register) => known.get(register.name) !== register);
  if (changed.length === 0) return registers;
  const names = new Set(changed.map(({ name }) => name));
  return [...registers.filter(({ name }) => !names.has(name)), ...changed].sort((one, other) =>
    compareText(one.name, other.name),
  );
}

/** Shifts the revisions of all writes by `by`. */
export function rebaseRegisters(registers: readonly Named[], by: number): readonly Named[] {
  return registers.map(({ name, writes }) => ({
    name,
    writes: writes.map((each) => ({ ...each, rev: each.rev + by })),
  }));
}

/** The siblings that the author of a change had not seen. */
export function unseen(siblings: readonly Sibling[], context: Context): readonly Sibling[] {
  return siblings.filter((sibling) => !hasSeen(context, sibling));
}
