/**
 * Writes of one register that stand beside each other because none of their authors knew of the others; the latest is
 * shown. A write takes the place of those its author had seen, so causality beats clocks, and what nobody has seen
 * cannot be lost by deleting what somebody has.
 */
import { hasSeen, type Context, type Write } from "./kind.ts";
import { compareText } from "./json.ts";
import { compareStamps } from "./stamp.ts";

export interface Sibling extends Write {
  /** The revision that brought it. */
  readonly rev: number;
}

/** A register among others. */
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

/** The siblings of both, each once: the same object when the others are all among them. */
function joinSiblings(siblings: readonly Sibling[], others: readonly Sibling[]): readonly Sibling[] {
  const added = others.filter(({ stamp }) => siblings.every((known) => compareStamps(known.stamp, stamp) !== 0));
  if (added.length === 0) return siblings;
  return [...siblings, ...added].sort((one, other) => compareStamps(other.stamp, one.stamp));
}

/** Registers by name, in order of name: those of both, the same object when the others bring nothing. */
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

/** The same under revisions moved by `by`. */
export function rebaseRegisters(registers: readonly Named[], by: number): readonly Named[] {
  return registers.map(({ name, writes }) => ({
    name,
    writes: writes.map((each) => ({ ...each, rev: each.rev + by })),
  }));
}

/** Those that the author of a change knew nothing of. */
export function unseen(siblings: readonly Sibling[], context: Context): readonly Sibling[] {
  return siblings.filter((sibling) => !hasSeen(context, sibling));
}
