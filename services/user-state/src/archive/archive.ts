/**
 * A person's state as a file of their own (NDJSON): a header, a line for each unit with all that merges in it, for what
 * their devices were doing, for each answer and each replica that is remembered, and an end that counts and sums up the
 * lines before it, so that a file that was cut short shows. Taking one in is `intake.ts`.
 */
import { createHash } from "node:crypto";
import { AppError } from "@continuo/errors";
import { KIND_NAMES, type Json, type KindName } from "@continuo/merge";
import { z } from "zod";
import type { UnitName } from "../entry/unit.ts";

/** Over HTTP. */
export const ARCHIVE_TYPE = "application/x-ndjson";
const FORMAT = 1;

/** The header: where in its history the state was, and by which versions of namespaces it is to be read. */
export interface ArchiveHeader {
  readonly userId: string;
  readonly epoch: string;
  readonly rev: number;
  /** Deletions up to here may have been forgotten. */
  readonly prunedRev: number;
  /** The server's clock, milliseconds since the epoch. */
  readonly at: number;
  readonly namespaces: readonly { readonly name: string; readonly version: number }[];
}

export interface ArchivedUnit extends UnitName {
  readonly kind: KindName;
  /** Whole: of a text the compacted document. */
  readonly state: Json;
  readonly deleted: boolean;
  readonly rev: number;
  readonly schemaVersion: number;
  /** When it changed last, by effective stamps; when the oldest removal was made that it remembers. Milliseconds. */
  readonly ms: number;
  readonly removedMs: number | null;
  /** When its time is up, milliseconds since the epoch; null: never. */
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
   * All that is kept of a user at one moment, in parts of bounded size. Whoever leaves a part untaken for long loses it:
   * throws UNAVAILABLE, EXPORT_TOO_SLOW. Empty for whom nothing was ever kept of.
   */
  snapshot(userId: string): AsyncIterable<Part>;
}

/** The lines of a user's archive, a part at a time, read as they are taken. `told` hears how many units of how many there are. */
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
/** More than any history has: taken in, they are added to those of another. */
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
  // A fence beyond all there is would have every reader start over, each time.
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
 * The header and the counts of a whole file, by its lines alone. Throws BAD_USER_INPUT: ARCHIVE_FOREIGN, ARCHIVE_TOO_NEW,
 * ARCHIVE_TRUNCATED, ARCHIVE_DAMAGED (`details.line`).
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
    // The last line of a file that was cut short is half of one.
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

/** The units of a file that was inspected. */
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
