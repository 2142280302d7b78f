/** A comparison for people to read: one line per contender, then ours divided by each yardstick. */
import { measuresOf, ratioOf, spreadOf, type Series, type Spread } from "./measure.ts";

export interface Comparison {
  readonly name: string;
  /** One line: what was done, with how much concurrency. */
  readonly what: string;
  /** Ours first. */
  readonly series: readonly [Series, ...Series[]];
}

/** Medians, with the extremes in brackets; a dash for what a contender cannot measure. */
export function formatTable({ name, what, series }: Comparison): string {
  const [ours, ...yardsticks] = series;
  const measures = measuresOf(...series);
  const line = (title: string, found: (measure: string) => Spread | undefined, format: (value: number) => string) => [
    title,
    ...measures.map((measure) => formatSpread(found(measure), format)),
  ];
  const rows = [
    ["", ...measures],
    ...series.map((one) => line(one.name, (measure) => spreadOf(one, measure), formatFigure)),
    ...yardsticks.map((one) =>
      line(`${ours.name} ÷ ${one.name}`, (measure) => ratioOf(ours, one, measure), formatRatio),
    ),
  ];
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? [];
  const lines = rows.map((row) =>
    row.map((cell, column) => (column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0))),
  );
  return `${name}: ${what}\n${lines.map((cells) => cells.join("   ").trimEnd()).join("\n")}\n`;
}

function formatSpread(found: Spread | undefined, format: (value: number) => string): string {
  return found ? `${format(found.median)} (${format(found.low)}–${format(found.high)})` : "–";
}

/** More than three significant digits would be noise on a shared machine. */
function formatFigure(value: number): string {
  return value >= 100 ? Math.round(value).toLocaleString("en-US") : value.toPrecision(value >= 10 ? 3 : 2);
}

function formatRatio(value: number): string {
  if (value >= 10) return value.toFixed(1);
  return value >= 0.1 ? value.toFixed(2) : value.toPrecision(2);
}
