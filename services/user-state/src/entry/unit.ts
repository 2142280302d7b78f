/**
 * A unit: one field of one key, in the state that its kind made. What a client shows of it is its view; what a quota
 * counts of it is its weight.
 */
import { jsonBytes, KINDS, type Json, type Kind, type KindName, type ResumePolicy, type State } from "@continuo/merge";
import { STATES } from "@continuo/merge/protocol";
import { text } from "@continuo/merge/text";

export interface UnitName {
  readonly namespace: string;
  readonly key: string;
  readonly field: string;
}

/** Names a unit within one user. */
export function unitId({ namespace, key, field }: UnitName): string {
  return JSON.stringify([namespace, key, field]);
}

/** As it is stored. */
export interface Unit {
  readonly kind: KindName;
  readonly state: Json;
  readonly rev: number;
  readonly schemaVersion: number;
  /** Of the state as JSON, the key and the field. */
  readonly bytes: number;
  /** When the oldest removal was made that it still remembers, in milliseconds since the epoch; null: there is none. */
  readonly removedMs: number | null;
}

/** What the weight of a unit goes by. */
export type Weighed = Pick<Unit, "kind" | "state" | "bytes">;

/** How much of something there is. */
export interface Amount {
  readonly entries: number;
  readonly bytes: number;
}

const ALL: Readonly<Record<KindName, Kind>> = { ...KINDS, TEXT: text };

/**
 * Kinds whose units count generations. Whoever does not know how many there were cannot write, so a beginner is told of
 * such a unit even if there is nothing to show of it.
 */
export const KINDS_WITH_GENERATIONS: readonly KindName[] = ["PROGRESS", "DRAFT", "TEXT"];
/** Kinds without removals: they never leave a tombstone, and none can be forgotten. */
export const KINDS_THAT_STAY: readonly KindName[] = ["MAX", "MIN", "COUNTER"];
/** Kinds that hold one value, of which the rest of the state is but the memory of others. */
const KINDS_OF_ONE_VALUE: readonly KindName[] = ["REGISTER", "OPAQUE", ...KINDS_THAT_STAY];

export const kindNamed = (name: KindName): Kind => ALL[name];

/** What clients show; undefined for nothing. `policy` is its namespace's, for PROGRESS. */
export function viewOf({ kind, state }: Pick<Unit, "kind" | "state">, policy?: ResumePolicy): Json | undefined {
  return kindNamed(kind).view(state, policy);
}

/** Whether clients show anything: `viewOf` without the work of it. */
export function isShown(unit: Pick<Unit, "kind" | "state">): boolean {
  if (unit.kind !== "TEXT") return viewOf(unit) !== undefined;
  const { document, updates } = textStateOf(unit.state);
  return document !== null || updates.length > 0;
}

/** Nothing for what is not shown: neither a deletion nor the memory of it may meet a quota. */
export function weightOf(unit: Weighed | undefined, { key, field }: UnitName): Amount {
  if (unit === undefined || !isShown(unit)) return { entries: 0, bytes: 0 };
  if (!KINDS_OF_ONE_VALUE.includes(unit.kind)) return { entries: 1, bytes: unit.bytes };
  return { entries: 1, bytes: jsonBytes(viewOf(unit) ?? null) + nameBytes(key) + nameBytes(field) };
}

/** `bytes` of a unit in this state. */
export function bytesOf({ kind, state }: Pick<Unit, "kind" | "state">, { key, field }: UnitName): number {
  return (kind === "TEXT" ? textBytes(state) : jsonBytes(state)) + nameBytes(key) + nameBytes(field);
}

/** The state of a TEXT. Throws for that of another kind. */
export function textStateOf(state: Json): State<"TEXT"> {
  return STATES.TEXT.parse(state);
}

/** A document may be of a megabyte, and base64 is as long as it is large. */
function textBytes(state: Json): number {
  const { document, updates } = textStateOf(state);
  return updates.reduce((sum, { length }) => sum + length, document?.length ?? 0);
}

function nameBytes(name: string): number {
  return Buffer.byteLength(name);
}
