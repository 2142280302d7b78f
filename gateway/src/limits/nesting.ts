/** Limits nesting in documents and variables, because parsing, serializing and planning are recursive. */
import { limitExceeded } from "./limits.ts";

export const NESTING = 100;
/**
 * Variables may nest deeper, because they do not affect planning. Below this limit the subgraph decides: it can refuse
 * one change and still accept those after it.
 */
const NESTING_OF_VARIABLES = 1_000;

/** Throws BAD_USER_INPUT/NESTED_TOO_DEEPLY for variables too deep to forward. */
export function assertNested(variables: Readonly<Record<string, unknown>>): void {
  if (isDeeper(variables, NESTING_OF_VARIABLES)) throw limitExceeded("nesting", NESTING_OF_VARIABLES);
}

function isDeeper(value: unknown, levels: number): boolean {
  if (typeof value !== "object" || value === null) return false;
  return levels === 0 || Object.values(value).some((inner) => isDeeper(inner, levels - 1));
}
