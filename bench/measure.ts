/**
 * The arithmetic of a comparison: contenders in turn, medians with their spread, ratios round by round.
 * It measures nothing itself: the caller decides what a turn does.
 */

/** The measurements of a turn, by name: `ops/s`, `p99 ms` … What a contender cannot measure is absent. */
export type Turn = Readonly<Record<string, number>>;

/** A median and the extremes around it, in the unit of the input. */
export interface Spread {
  readonly median: number;
  readonly low: number;
  readonly high: number;
}

/** A contender's turns, in order. */
export interface Series {
  readonly name: string;
  readonly turns: readonly Turn[];
}

/** The middle value; for an even number of values, the mean of the two in the middle. Throws RangeError for none. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const upper = sorted[Math.floor(sorted.length / 2)];
  const lower = sorted[Math.ceil(sorted.length / 2) - 1];
  if (upper === undefined || lower === undefined) throw new RangeError("there is no median of nothing");
  return lower + (upper - lower) / 2;
}

/** Median, minimum and maximum. Throws RangeError for no values. */
export function spread(values: readonly number[]): Spread {
  return { median: median(values), low: Math.min(...values), high: Math.max(...values) };
}

/** The measures of all series, in order of first appearance. */
export function measuresOf(...all: readonly Series[]): string[] {
  return [...new Set(all.flatMap(({ turns }) => turns.flatMap((turn) => Object.keys(turn))))];
}

/** The spread of one measure over a series; undefined if any turn lacks it. */
export function spreadOf({ turns }: Series, measure: string): Spread | undefined {
  const values = turns.map((turn) => turn[measure]);
  return values.length > 0 && values.every((value) => value !== undefined) ? spread(values) : undefined;
}

/**
 * Ours divided by the yardstick's, round by round, then the spread of that: a disturbance of a whole round affects
 * both. Undefined if either lacks the measure. Throws RangeError when one took more turns than the other.
 */
export function ratioOf(ours: Series, yardstick: Series, measure: string): Spread | undefined {
  if (ours.turns.length !== yardstick.turns.length) throw new RangeError("a ratio needs as many turns of each");
  const ratios = ours.turns.flatMap((turn, round) => {
    const mine = turn[measure];
    const theirs = yardstick.turns[round]?.[measure];
    return mine === undefined || theirs === undefined || theirs === 0 ? [] : [mine / theirs];
  });
  return ratios.length > 0 && ratios.length === ours.turns.length ? spread(ratios) : undefined;
}

/** Rounds that do not count: the JIT compiler takes some thousand operations to reach full speed. */
const WARM_UP_ROUNDS = 3;

/**
 * A B A B …: each contender once per round, for `rounds` rounds after the warm-up; `settle` runs after the very first round.
 */
export async function takeTurns<Contender extends { readonly name: string }>(
  contenders: readonly Contender[],
  rounds: number,
  turn: (contender: Contender) => Promise<Turn>,
  settle: () => Promise<void> = async () => undefined,
): Promise<Series[]> {
  const series = contenders.map((contender) => ({ contender, name: contender.name, turns: new Array<Turn>() }));
  for (let round = 0; round < WARM_UP_ROUNDS + rounds; round += 1) {
    for (const { contender, turns } of series) {
      const found = await turn(contender);
      if (round >= WARM_UP_ROUNDS) turns.push(found);
    }
    if (round === 0) await settle();
  }
  return series.map(({ name, turns }) => ({ name, turns }));
}
