/**
 * A unit: one field of one key, in the state that its kind produced. Its view is what clients show, its weight what
 * counts towards a quota.
 */
import { jsonBytes, KINDS, type Json, type Kind, type KindName, type ResumePolicy, type State } from "@continuo/merge";
import { STATES } from "@continuo/merge/protocol";
import { text } from "@continuo/merge/text";

export interface UnitName {
  readonly namespace: string;
  readonly key: string;
  readonly field: string;
}

/** Identifies a unit within one user. */
export function unitId({ namespace, key, field }: UnitName): string {
  return JSON.stringify([namespace, key, field]);
}

/** A unit as stored. */
export interface Unit {
  readonly kind: KindName;
  readonly state: Json;
  readonly rev: number;
  readonly schemaVersion: number;
  /** The size of the state as JSON, the key and the field. */
  readonly bytes: number;
  /** The time of the oldest removal that it still remembers, in milliseconds since the epoch; null: none. */
  readonly removedMs: number | null;
}

/** What a unit's weight depends on. */
export type Weighed = Pick<Unit, "kind" | "state" | "bytes">;

/** A number of entries and their bytes. */
export interface Amount {
  readonly entries: number;
  readonly bytes: number;
}

const ALL: Readonly<Record<KindName, Kind>> = { ...KINDS, TEXT: text };

/**
 * Kinds whose units count generations. A writer must know the current generation, so a new replica receives such a unit
 * even if it shows nothing.
 */
export const KINDS_WITH_GENERATIONS: readonly KindName[] = ["PROGRESS", "DRAFT", "TEXT"];
/** Kinds without removals: they never leave tombstones, so nothing can be forgotten. */
export const KINDS_THAT_STAY: readonly KindName[] = ["MAX", "MIN", "COUNTER"];
/** Kinds that hold a single value; the rest of their state is memory of other writes. */
const KINDS_OF_ONE_VALUE: readonly KindName[] = ["REGISTER", "OPAQUE", ...KINDS_THAT_STAY];

export const kindNamed = (name: KindName): Kind => ALL[name];

/** What clients show; undefined for nothing. `policy` is the namespace's resume policy, for PROGRESS. */
export function viewOf({ kind, state }: Pick<Unit, "kind" | "state">, policy?: ResumePolicy): Json | undefined {
  return kindNamed(kind).view(state, policy);
}

/** Whether clients show anything: `viewOf` without computing the view. */
export function isShown(unit: Pick<Unit, "kind" | "state">): boolean {
  if (unit.kind !== "TEXT") return viewOf(unit) !== undefined;
  const { document, updates } = textStateOf(unit.state);
  return document !== null || updates.length > 0;
}

/**
 * The weight of a unit; zero for one that is not shown, since neither deletions nor their memory may count towards a
 * quota.
 */
export function weightOf(unit: Weighed | undefined, { key, field }: UnitName): Amount {
  if (unit === undefined || !isShown(unit)) return { entries: 0, bytes: 0 };
  if (!KINDS_OF_ONE_VALUE.includes(unit.kind)) return { entries: 1, bytes: unit.bytes };
  return { entries: 1, bytes: jsonBytes(viewOf(unit) ?? null) + nameBytes(key) + nameBytes(field) };
}

/** The `bytes` of a unit in this state. */
export function bytesOf({ kind, state }: Pick<Unit, "kind" | "state">, { key, field }: UnitName): number {
  return (kind === "TEXT" ? textBytes(state) : jsonBytes(state)) + nameBytes(key) + nameBytes(field);
}

/** Parses the state of a TEXT. Throws for the state of another kind. */
export function textStateOf(state: Json): State<"TEXT"> {
  return STATES.TEXT.parse(state);
}

/** Counts characters instead of serialising: a document may have a megabyte, and base64 has one byte per character. */
function textBytes(state: Json): number {
  const { document, updates } = textStateOf(state);
  return updates.reduce((sum, { length }) => sum + length, document?.length ?? 0);
}

function nameBytes(name: string): number {
  return Buffer.byteLength(name);
}
