/** Brackets within brackets, of a text or of values: what reads them, writes them or plans by them calls itself for each. */
import { limitExceeded } from "./limits.ts";

export const NESTING = 100;
/** Nothing plans by values. What is less deep is their owner's to judge: it refuses one change, and takes those behind it. */
const NESTING_OF_VARIABLES = 1_000;

/** Throws BAD_USER_INPUT/NESTED_TOO_DEEPLY for variables that could not be passed on. */
export function assertNested(variables: Readonly<Record<string, unknown>>): void {
  if (isDeeper(variables, NESTING_OF_VARIABLES)) throw limitExceeded("nesting", NESTING_OF_VARIABLES);
}

function isDeeper(value: unknown, levels: number): boolean {
  if (typeof value !== "object" || value === null) return false;
  return levels === 0 || Object.values(value).some((inner) => isDeeper(inner, levels - 1));
}
