/**
 * How two states of one unit (a field of a key) become one: the same on the server and on every replica.
 * It knows neither time nor storage; which kind a field has is the namespace's to say.
 */
import { mergeMaxima, type Max } from "./max.ts";
import { mergeRegisters, type Register, type Write } from "./register.ts";
import { compareStamps } from "./stamp.ts";

export type Unit = Register | Max;
export type Kind = Unit["kind"];

/** Every kind there is. */
export const KINDS = ["REGISTER", "MAX"] as const satisfies readonly Kind[];

/** The state after one write to a unit that nobody has written before. Throws RangeError when the kind cannot hold it. */
export function unitOf(kind: Kind, write: Write): Unit {
  if (kind === "REGISTER") return { kind, standing: write, history: [] };
  const { value, deleted, stamp } = write;
  if (deleted || typeof value !== "number" || !Number.isFinite(value))
    throw new RangeError("a maximum holds a finite number and is never deleted");
  return { kind, standing: { value, deleted: false, stamp } };
}

/** Joins two states: idempotent, commutative, associative. Throws RangeError when they are of two kinds. */
export function merge(current: Unit | undefined, incoming: Unit): Unit {
  if (current === undefined) return incoming;
  if (current.kind === "REGISTER" && incoming.kind === "REGISTER") return mergeRegisters(current, incoming);
  if (current.kind === "MAX" && incoming.kind === "MAX") return mergeMaxima(current, incoming);
  throw new RangeError(`${current.kind} and ${incoming.kind} do not merge`);
}

/** Whether the write of `unit` is the one that stands in `merged`. */
export function stands(unit: Unit, merged: Unit): boolean {
  return compareStamps(unit.standing.stamp, merged.standing.stamp) === 0;
}
