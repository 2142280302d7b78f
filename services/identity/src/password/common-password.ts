/**
 * Whether a password is one that attackers guess first (NIST SP 800-63B-4, 3.1.1.2), decided offline.
 * The list is zxcvbn-ts's (MIT): the 49,000 most used passwords of known leaks. Not a measure of strength.
 */
import { dictionary } from "@zxcvbn-ts/language-common";

const COMMON: ReadonlySet<string> = new Set(dictionary["passwords-common"]);
const LONGEST = dictionary["passwords-common"].reduce((longest, { length }) => Math.max(longest, length), 0);
const PRODUCT = "continuo";
/** Fewer changes of step than this make a pattern such as 12345 or aaaaa. */
const FEWEST_TURNS = 8;
const SHORTEST_PART = 3;

/**
 * True for a common password, two of them joined, a run of characters, and the repetition of a unit shorter than
 * `minimumLength`. The e-mail address, its parts and the product's name count as common passwords.
 */
export function isCommonPassword(password: string, email: string, minimumLength: number): boolean {
  const text = fold(password);
  const own = [email, ...email.split("@"), PRODUCT].map(fold);
  // Length first: a set hashes the whole string even on a miss, and NFKC can turn one character into eighteen.
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

/** `abcabcabca` → `abc`; text that does not repeat is returned whole. */
function repeatedUnit(text: string): string {
  for (let length = 1; length <= text.length / 2; length += 1) {
    if (text.startsWith(text.slice(length))) return text.slice(0, length);
  }
  return text;
}

/** How often the step from one character to the next changes; each step of more than one counts as a change. */
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
