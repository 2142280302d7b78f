/**
 * The position of a list element: a string that sorts between those of its neighbours, so that moving one element
 * changes only that element (fractional indexing).
 */
import { generateKeyBetween, generateNKeysBetween } from "fractional-indexing";

/** Longer positions are rejected; `rebalance` shortens them. Each insertion at the same spot adds a few characters. */
export const MAX_POSITION_CHARACTERS = 256;

/** Enough that two devices filling the same gap concurrently rarely choose the same spot. */
const JITTER_BITS = 16;

interface Positioned {
  readonly position: string;
}

/**
 * Returns a position for a new element at `index` of `elements`, which are in order. With `random` (0 ≤ x < 1, like
 * Math.random) two devices seldom choose the same position; without it the shortest one is taken. Elements that share a
 * position stay together: an element inserted between them goes after them.
 */
export function positionAt(elements: readonly Positioned[], index: number, random?: () => number): string {
  const before = elements[index - 1]?.position ?? null;
  const after = elements.slice(index).find(({ position }) => before === null || position > before)?.position ?? null;
  return random === undefined ? generateKeyBetween(before, after) : jittered(before, after, random);
}

/**
 * Returns `count` short, evenly spread positions: one for each element of a list whose positions have grown too long.
 */
export function rebalance(count: number): readonly string[] {
  return generateNKeysBetween(null, null, count);
}

/** Whether `text` is a position before and after which others can be created. */
export function isPosition(text: string): boolean {
  if (text.length > MAX_POSITION_CHARACTERS || !/^[0-9A-Za-z]+$/.test(text)) return false;
  try {
    return generateKeyBetween(null, text) < text && text < generateKeyBetween(text, null);
  } catch {
    return false;
  }
}

function jittered(before: string | null, after: string | null, random: () => number): string {
  // At either end of the list the gap is the next whole step, so that repeated appends do not lengthen positions.
  let low = after === null || before !== null ? before : generateKeyBetween(null, generateKeyBetween(null, after));
  let high = after;
  if (after === null) {
    low = generateKeyBetween(before, null);
    high = generateKeyBetween(low, null);
  }
  for (let bit = 0; bit < JITTER_BITS; bit += 1) {
    const middle = generateKeyBetween(low, high);
    if (random() < 0.5) low = middle;
    else high = middle;
  }
  return generateKeyBetween(low, high);
}
