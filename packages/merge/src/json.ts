/** JSON as it travels and is stored: limited to what Postgres preserves exactly, and bounded in size and depth. */

export type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json };

/** The largest value that one op may carry, in bytes of UTF-8 as JSON. */
export const MAX_VALUE_BYTES = 64 * 1024;
/** Deeper values overflow the recursion of parsers on the way. */
export const MAX_VALUE_DEPTH = 64;
/** The longest name of a member, an element or a draft's field, in UTF-16 code units. */
export const MAX_NAME_CHARACTERS = 256;

/** Whether `value` is JSON, at most `depth` levels deep, with finite numbers and sound text. */
export function isJson(value: unknown, depth = MAX_VALUE_DEPTH): value is Json {
  if (typeof value === "string") return isText(value);
  if (typeof value === "number") return Number.isFinite(value);
  if (value === null || typeof value === "boolean") return true;
  if (typeof value !== "object" || depth === 0) return false;
  if (Array.isArray(value)) return value.every((element) => isJson(element, depth - 1));
  return Object.entries(value).every(([name, member]) => isText(name) && isJson(member, depth - 1));
}

/** Whether text is free of NUL, which Postgres refuses, and of lone surrogates, which UTF-8 cannot encode. */
export function isText(text: string): boolean {
  return !text.includes("\0") && !/[\ud800-\udfff]/u.test(text);
}

/**
 * The size of a value as JSON, in bytes of UTF-8. Numbers count with all their digits, as Postgres prints them: `1e300`
 * counts as 301.
 */
export function jsonBytes(value: unknown): number {
  let omitted = 0;
  const text = JSON.stringify(value);
  if (EXPONENT.test(text))
    JSON.stringify(value, (_, member: unknown) => {
      if (typeof member === "number") omitted += digitsOmitted(member);
      return member;
    });
  return utf8Bytes(text) + omitted;
}

/** A first filter: strings may match as well. */
const EXPONENT = /\de[+-]\d/;

/** How many characters longer a number is when written without an exponent. */
function digitsOmitted(number: number): number {
  const text = String(number);
  const [, whole = "", fraction = "", exponent] = /^-?(\d)\.?(\d*)e([+-]\d+)$/.exec(text) ?? [];
  if (exponent === undefined) return 0;
  const digits = whole.length + fraction.length;
  const power = Number(exponent);
  const plain = power > 0 ? power + 1 : "0.".length - power - 1 + digits;
  return plain + (number < 0 ? 1 : 0) - text.length;
}

/** The size of a text in bytes of UTF-8. Most text is ASCII, which can be counted without encoding it. */
export function utf8Bytes(text: string): number {
  return BEYOND_ASCII.test(text) ? encoder.encode(text).length : text.length;
}

const BEYOND_ASCII = /[\u0080-\uffff]/;
const encoder = new TextEncoder();

/** The order of names: by UTF-16 code units, the same everywhere. */
export function compareText(left: string, right: string): number {
  return left < right ? -1 : left > right ? 1 : 0;
}
