/**
 * Whether a password is one that guessers try first (NIST SP 800-63B-4, 3.1.1.2), decided offline.
 * The list is zxcvbn-ts's (MIT): the 49,000 most used of known leaks. Not a measure of strength.
 */
import { dictionary } from "@zxcvbn-ts/language-common";

const COMMON: ReadonlySet<string> = new Set(dictionary["passwords-common"]);
const LONGEST = dictionary["passwords-common"].reduce((longest, { length }) => Math.max(longest, length), 0);
const PRODUCT = "continuo";
/** A repetition counts once, and fewer changes of step than this is a pattern such as 12345 or aaaaa. */
const FEWEST_TURNS = 8;
const SHORTEST_PART = 3;

/** True for a common password, two of them joined (the address and its parts count as common), a repetition or a run of characters. */
export function isCommonPassword(password: string, email: string, minimumLength: number): boolean {
  const text = fold(password);
  const own = [email, ...email.split("@"), PRODUCT].map(fold);
  // A set reads a part whole before it says no, and compatibility forms can be eighteen characters for one.
  const isCommon = (part: string): boolean => (part.length <= LONGEST && COMMON.has(part)) || own.includes(part);
  return (
    repeatedUnit(text).length < minimumLength ||
    turns(text) < FEWEST_TURNS ||
    isCommon(text) ||
    isJoined(text, isCommon)
  );
}

/** Compatibility forms and case do not make a password less common. */
function fold(text: string): string {
  return text.normalize("NFKC").toLowerCase();
}

/** `abcabcabca` → `abc`; what does not repeat comes back whole. */
function repeatedUnit(text: string): string {
  for (let length = 1; length <= text.length / 2; length += 1) {
    if (text.startsWith(text.slice(length))) return text.slice(0, length);
  }
  return text;
}

/** How often the way from one character to the next changes; steps of more than one each count as a change. */
function turns(text: string): number {
  let count = 0;
  let previous: number | undefined;
  for (let index = 1; index < text.length; index += 1) {
    const step = text.charCodeAt(index) - text.charCodeAt(index - 1);
    if (Math.abs(step) > 1 || step !== previous) count += 1;
    previous = step;
  }
  return count;
}

function isJoined(text: string, isCommon: (part: string) => boolean): boolean {
  for (let cut = SHORTEST_PART; cut <= text.length - SHORTEST_PART; cut += 1) {
    if (isCommon(text.slice(0, cut)) && isCommon(text.slice(cut))) return true;
  }
  return false;
}
