/**
 * How large and how expensive one operation may be. An operation beyond a limit is refused before any subgraph is
 * called.
 */
import { AppError } from "@continuo/errors";

/** Upper bounds for one operation, all inclusive, counted after its fragments are expanded. */
export interface Limits {
  /** Levels of nested fields. Introspection is not counted: graphql's own rule bounds it. */
  readonly depth: number;
  readonly aliases: number;
  readonly rootFields: number;
  readonly directives: number;
  /** Fields and fragments. */
  readonly selections: number;
  /** Lexical tokens of the whole document, and also its lines. */
  readonly tokens: number;
  /** As `cost.ts` estimates it. */
  readonly cost: number;
}

const REASONS = {
  depth: ["OPERATION_TOO_DEEP", "levels of fields"],
  aliases: ["TOO_MANY_ALIASES", "aliases"],
  rootFields: ["TOO_MANY_ROOT_FIELDS", "fields at its root"],
  directives: ["TOO_MANY_DIRECTIVES", "directives"],
  selections: ["TOO_MANY_SELECTIONS", "fields and fragments"],
  tokens: ["TOO_MANY_TOKENS", "tokens"],
  characters: ["TEXT_TOO_LONG", "characters"],
  nesting: ["NESTED_TOO_DEEPLY", "brackets within brackets"],
  cost: ["OPERATION_TOO_COSTLY", "points of cost"],
} as const satisfies Record<keyof Limits | "characters" | "nesting", readonly [reason: string, unit: string]>;

/** Enough validation errors for a client to act on; each costs a scan of the text for its location. */
export const MOST_FAULTS = 20;

/** The refusal of a list without a size, although one of these arguments is required to give one. */
export function listUnbounded(field: string, names: readonly string[]): AppError {
  const message = `How many are asked for? ${field} needs a number for one of: ${names.join(", ")}.`;
  return new AppError("BAD_USER_INPUT", "LIST_UNBOUNDED", message);
}

/** The refusal: BAD_USER_INPUT with `details { allowed, asked }`; without `asked` if reading stopped at the limit. */
export function limitExceeded(limit: keyof typeof REASONS, allowed: number, asked?: number): AppError {
  const [reason, unit] = REASONS[limit];
  const details = { allowed, ...(asked !== undefined && { asked }) };
  return new AppError("BAD_USER_INPUT", reason, `An operation may have at most ${allowed} ${unit}.`, { details });
}
