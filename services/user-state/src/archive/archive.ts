/**
 * A person's state as a file of their own (NDJSON): a header; a line for each unit with its full merge state, for each
 * activity, each stored outcome and each known replica; and an end line with counts and a checksum of the lines before
 * it, so that truncation shows. `intake.ts` imports one.
 */
import { createHash } from "node:crypto";
import { AppError } from "@continuo/errors";
import { KIND_NAMES, type Json, type KindName } from "@continuo/merge";
import { z } from "zod";
import type { UnitName } from "../entry/unit.ts";

/** The media type of an archive over HTTP. */
export const ARCHIVE_TYPE = "application/x-ndjson";
const FORMAT = 1;

/** The header: the state's position in its history, and the namespace versions to read it by. */
export interface ArchiveHeader {
  readonly userId: string;
  readonly epoch: string;
  readonly rev: number;
  /** Deletions up to this revision may have been forgotten. */
  readonly prunedRev: number;
  /** The server's clock, milliseconds since the epoch. */
  readonly at: number;
  readonly namespaces: readonly { readonly name: string; readonly version: number }[];
}

export interface ArchivedUnit extends UnitName {
  readonly kind: KindName;
  /** Complete; for a TEXT the compacted document. */
  readonly state: Json;
  readonly deleted: boolean;
  readonly rev: number;
  readonly schemaVersion: number;
  /**
   * The time of its last change by effective stamp, and (`removedMs`) of the oldest removal it remembers, in
   * milliseconds since the epoch.
   */
  readonly ms: number;
  readonly removedMs: number | null;
  /** When it expires, in milliseconds since the epoch; null: never. */
  readonly expiresAt: number | null;
}

/** A part of a snapshot: lines of one kind. The header comes first, and once. */
export type Part =
  | { readonly header: ArchiveHeader; readonly total: number }
  | { readonly units: readonly ArchivedUnit[] }
  | { readonly activities: readonly object[] }
  | { readonly outcomes: readonly object[] }
  | { readonly replicas: readonly object[] };

export interface ArchiveStore {
  /**
   * A user's whole stored state at one moment, in parts of bounded size; empty for a user without any. Throws
   * UNAVAILABLE, EXPORT_TOO_SLOW when the consumer leaves a part unread for too long.
   */
  snapshot(userId: string): AsyncIterable<Part>;
}

/**
 * The lines of a user's archive, one part at a time, read as they are consumed. `told` is called with the number of
 * units done, and in total.
 */
export async function* archiveOf(
  store: ArchiveStore,
  userId: string,
  told: (done: number, total: number) => void = () => undefined,
): AsyncIterable<string> {
  const hash = createHash("sha256");
  const counts = { units: 0, activities: 0, outcomes: 0, replicas: 0 };
  let total = 0;
  const lines = (name: string, values: readonly object[]): string =>
    values.map((value) => `${JSON.stringify({ [name]: value })}\n`).join("");
  for await (const part of store.snapshot(userId)) {
    let text = "";
    if ("header" in part) {
      ({ total } = part);
      text = lines("archive", [{ format: FORMAT, ...part.header }]);
    } else if ("units" in part) {
      counts.units += part.units.length;
      text = lines("unit", part.units);
      told(counts.units, total);
    } else if ("activities" in part) {
      counts.activities += part.activities.length;
      text = lines("activity", part.activities);
    } else if ("outcomes" in part) {
      counts.outcomes += part.outcomes.length;
      text = lines("outcome", part.outcomes);
    } else {
      counts.replicas += part.replicas.length;
      text = lines("replica", part.replicas);
    }
    hash.update(text);
    yield text;
  }
  yield `${JSON.stringify({ end: { ...counts, sha256: hash.digest("hex") } })}\n`;
}

const Count = z.int().min(0);
/** Above any real history: imported revisions are added to those of another history. */
const Rev = z.int().min(0).max(1e12);
const Header = z
  .object({
    userId: z.uuid(),
    epoch: z.uuid(),
    rev: Rev,
    prunedRev: Rev,
    at: Count,
    namespaces: z.array(z.object({ name: z.string(), version: z.int().min(1) })),
  })
  // A fence beyond the head would make every reader start over, each time.
  .refine(({ rev, prunedRev }) => prunedRev <= rev);
const HeaderLine = z.strictObject({ archive: z.looseObject({ format: z.int().min(1) }) });
const UnitLine = z.strictObject({
  unit: z.strictObject({
    namespace: z.string(),
    key: z.string(),
    field: z.string(),
    kind: z.enum(KIND_NAMES),
    state: z.json(),
    deleted: z.boolean(),
    rev: Rev,
    schemaVersion: z.int().min(1),
    ms: Count,
    removedMs: Count.nullable(),
    expiresAt: Count.nullable(),
  }),
});
const OtherLine = z.union([
  z.strictObject({ activity: z.looseObject({}) }),
  z.strictObject({ outcome: z.looseObject({}) }),
  z.strictObject({ replica: z.looseObject({}) }),
]);
const EndLine = z.strictObject({
  end: z.strictObject({
    units: Count,
    activities: Count,
    outcomes: Count,
    replicas: Count,
    sha256: z.string(),
  }),
});

/**
 * The header and counts of a complete file, checked by its lines alone. Throws BAD_USER_INPUT: ARCHIVE_FOREIGN,
 * ARCHIVE_TOO_NEW, ARCHIVE_TRUNCATED, ARCHIVE_DAMAGED (`details.line`).
 */
export async function inspectArchive(
  lines: AsyncIterable<string>,
): Promise<{ header: ArchiveHeader; counts: z.output<typeof EndLine>["end"] }> {
  const hash = createHash("sha256");
  const counted = { units: 0, activities: 0, outcomes: 0, replicas: 0 };
  let header: ArchiveHeader | undefined;
  let end: z.output<typeof EndLine>["end"] | undefined;
  let number = 0;
  for await (const line of lines) {
    number += 1;
    const value = parse(line);
    if (header === undefined) {
      header = headerOf(value);
      hash.update(`${line}\n`);
      continue;
    }
    if (end !== undefined) throw damaged(number);
    const ended = EndLine.safeParse(value);
    if (ended.success) {
      ({ end } = ended.data);
      continue;
    }
    hash.update(`${line}\n`);
    if (UnitLine.safeParse(value).success) {
      counted.units += 1;
      continue;
    }
    const other = OtherLine.safeParse(value);
    // The last line of a truncated file is incomplete.
    if (value === undefined) continue;
    if (!other.success) throw damaged(number);
    if ("activity" in other.data) counted.activities += 1;
    else if ("outcome" in other.data) counted.outcomes += 1;
    else counted.replicas += 1;
  }
  if (header === undefined) throw foreign();
  if (end === undefined)
    throw new AppError("BAD_USER_INPUT", "ARCHIVE_TRUNCATED", "The archive is truncated: its last line is missing.");
  const { sha256, ...counts } = end;
  if (sha256 !== hash.digest("hex") || JSON.stringify(counts) !== JSON.stringify(counted))
    throw damaged(number, "what its last line sums up is something else");
  return { header, counts: end };
}

/** The units of a file that has passed `inspectArchive`. */
export async function* unitsIn(lines: AsyncIterable<string>): AsyncIterable<ArchivedUnit> {
  for await (const line of lines) {
    const parsed = UnitLine.safeParse(parse(line));
    if (parsed.success) yield parsed.data.unit;
  }
}

function headerOf(value: unknown): ArchiveHeader {
  const line = HeaderLine.safeParse(value);
  if (!line.success) throw foreign();
  if (line.data.archive.format > FORMAT)
    throw new AppError(
      "BAD_USER_INPUT",
      "ARCHIVE_TOO_NEW",
      `This file is of format ${line.data.archive.format}; this version reads up to ${FORMAT}.`,
    );
  const header = Header.safeParse(line.data.archive);
  if (!header.success) throw foreign();
  return header.data;
}

function foreign(): AppError {
  return new AppError("BAD_USER_INPUT", "ARCHIVE_FOREIGN", "This file is not a state archive.");
}

function damaged(line: number, why = `line ${line} is none of an archive's`): AppError {
  return new AppError("BAD_USER_INPUT", "ARCHIVE_DAMAGED", `The archive is damaged: ${why}.`, {
    details: { line },
  });
}

function parse(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}
