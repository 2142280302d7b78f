/** A unit of the kinds that are stored, as its row has columns for it: between those and the state that a kind makes. */
import {
  applyOp,
  KINDS,
  type Applied,
  type Arrival,
  type Json,
  type Op,
  type Stamp,
  type Write,
} from "@continuo/merge";
import type { Kind } from "../namespace/namespace.ts";

export interface Unit {
  readonly kind: Kind;
  readonly standing: Write;
  /** Writes that lost, latest first; none of a maximum. */
  readonly history: readonly Write[];
}

interface Change extends Omit<Op<never>, "payload"> {
  readonly kind: Kind;
  readonly value: Json;
  readonly deleted: boolean;
}

/** What becomes of a change. The same unit when nothing changed. Throws RangeError for what is no number where one belongs. */
export function applyToUnit(
  current: Unit | undefined,
  change: Change,
  arrival: Arrival,
): { outcome: "APPLIED" | "MERGED" | "NOOP"; stamp: Stamp; unit: Unit } {
  const { kind, value, deleted, ...op } = change;
  if (kind === "REGISTER") {
    const payload = deleted ? { type: "DELETE" as const } : { type: "SET" as const, value };
    const { state, outcome, stamp } = applyOp(
      KINDS.REGISTER,
      current ?? KINDS.REGISTER.initial,
      { ...op, payload },
      arrival,
    );
    return {
      outcome: mergedOf(outcome),
      stamp,
      unit: state === current ? current : unitOf(kind, state.standing, state.history),
    };
  }
  const before = {
    standing: current === undefined ? null : { ...current.standing, value: numberOf(current.standing.value) },
  };
  const { state, outcome, stamp } = applyOp(
    KINDS.MAX,
    before,
    { ...op, payload: { type: "SET", value: numberOf(value) } },
    arrival,
  );
  return {
    outcome: mergedOf(outcome),
    stamp,
    unit: state === before && current ? current : unitOf(kind, state.standing, []),
  };
}

function unitOf(
  kind: Kind,
  standing: (Omit<Write, "deleted"> & Partial<Write>) | null,
  history: readonly Write[],
): Unit {
  if (standing === null) throw new RangeError("a unit that was written has a write that stands");
  return { kind, standing: { deleted: false, ...standing }, history };
}

/** Neither kind refuses or fences anything. */
function mergedOf(outcome: Applied<never>["outcome"]): "APPLIED" | "MERGED" | "NOOP" {
  if (outcome === "REJECTED" || outcome === "SUPERSEDED")
    throw new RangeError(`${outcome} by a kind that takes everything`);
  return outcome;
}

function numberOf(value: Json): number {
  if (typeof value !== "number") throw new RangeError("a maximum holds a number");
  return value;
}
