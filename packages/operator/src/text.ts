/** Values for a person to read: a table for a list of objects, one line per property for an object. */

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Date);

/** Lists of objects become tables, headed by property names; everything else becomes lines. */
export function asText(value: unknown): string {
  if (Array.isArray(value)) {
    if (value.length === 0) return "(none)";
    const rows = value.filter(isRecord);
    return rows.length === value.length ? table(rows) : value.map(cell).join("\n");
  }
  if (!isRecord(value)) return cell(value);
  const entries = Object.entries(value);
  const width = Math.max(0, ...entries.map(([name]) => words(name).length));
  return entries.map(([name, each]) => `${words(name).padEnd(width)}  ${cell(each)}`).join("\n");
}

function table(rows: readonly Readonly<Record<string, unknown>>[]): string {
  const names = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const lines = [names.map(words), ...rows.map((row) => names.map((name) => cell(row[name])))];
  const widths = names.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)));
  return lines
    .map((line) =>
      line
        .map((each, column) => each.padEnd(widths[column] ?? 0))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

/** `lastActiveAt` → `last active at`. */
const words = (name: string): string => name.replaceAll(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);

function cell(value: unknown): string {
  if (value === null || value === undefined) return "-";
  if (value instanceof Date) return value.toISOString();
  // Terminals obey control characters, and other people choose the names shown here.
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return text.replaceAll(/\p{Cc}/gu, " ");
}

/** Milliseconds in words: `40 s`, `3 min`, `2.5 h`. */
export function duration(ms: number): string {
  const seconds = Math.max(1, Math.round(ms / 1_000));
  if (seconds < 100) return `${seconds} s`;
  if (seconds < 6_000) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3_600).toFixed(1)} h`;
}
