/** How large and how expensive one operation may be; what goes beyond is refused before any subgraph is asked. */
import { AppError } from "@continuo/errors";

/** Upper bounds of one operation, all inclusive, after its fragments are put in place. */
export interface Limits {
  /** Fields within fields. Introspection is not counted: GraphQL's own rule bounds it. */
  readonly depth: number;
  readonly aliases: number;
  readonly rootFields: number;
  readonly directives: number;
  /** Fields and fragments. */
  readonly selections: number;
  /** Lexical tokens of the whole document, and the lines that they stand on. */
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

/** Whoever is told of so many faults in a document knows what to do; each is looked up in the text. */
export const MOST_FAULTS = 20;

/** A list of which nobody says how long it may be, though one of these arguments has to. */
export function listUnbounded(field: string, names: readonly string[]): AppError {
  const message = `How many are asked for? ${field} needs a number for one of: ${names.join(", ")}.`;
  return new AppError("BAD_USER_INPUT", "LIST_UNBOUNDED", message);
}

/** The refusal: BAD_USER_INPUT with `details { allowed, asked }`; no `asked` where reading ended early. */
export function limitExceeded(limit: keyof typeof REASONS, allowed: number, asked?: number): AppError {
  const [reason, unit] = REASONS[limit];
  const details = { allowed, ...(asked !== undefined && { asked }) };
  return new AppError("BAD_USER_INPUT", reason, `An operation may have at most ${allowed} ${unit}.`, { details });
}
