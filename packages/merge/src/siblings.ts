/**
 * Writes of one register that stand beside each other because none of their authors knew of the others; the latest is
 * shown. A write takes the place of those its author had seen, so causality beats clocks, and what nobody has seen
 * cannot be lost by deleting what somebody has.
 */
import { hasSeen, type Context, type Write } from "./kind.ts";
import { compareStamps } from "./stamp.ts";

export interface Sibling extends Write {
  /** The revision that brought it. */
  readonly rev: number;
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

/** Those that the author of a change knew nothing of. */
export function unseen(siblings: readonly Sibling[], context: Context): readonly Sibling[] {
  return siblings.filter((sibling) => !hasSeen(context, sibling));
}
