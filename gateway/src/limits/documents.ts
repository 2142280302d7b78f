/** Parses documents once each, and checks that their shape is safe to validate and plan. */
import { type DocumentNode, Lexer, parse, Source, TokenKind } from "graphql";
import { LRUCache } from "lru-cache";
import { limitExceeded, type Limits } from "./limits.ts";
import { NESTING } from "./nesting.ts";
import { assertShape } from "./shape.ts";

export interface Documents {
  /** Throws AppError as `limitExceeded` describes; GraphQLError on a syntax error. */
  read(text: string): DocumentNode;
}

/** Allowance per token, including the whitespace and comments around it. */
const CHARACTERS_A_TOKEN = 20;
const CACHED_TEXTS = 1_000;
const CACHED_CHARACTERS = 4 * 1024 * 1024;

export function createDocuments(limits: Limits): Documents {
  const known = new LRUCache<string, DocumentNode>({
    max: CACHED_TEXTS,
    maxSize: CACHED_CHARACTERS,
    sizeCalculation: (_document, text) => text.length + 1,
  });

  return {
    read(text) {
      const seen = known.get(text);
      if (seen) return seen;
      assertReadable(text, limits.tokens);
      const document = parse(text, { maxTokens: limits.tokens });
      assertShape(document, limits);
      known.set(text, document);
      return document;
    },
  };
}

/**
 * Lexes within the limits, so that the text is neither too long to parse nor so deeply nested that the parser would
 * exhaust the stack. Lines count too, because graphql goes through all preceding lines for each location in an error.
 */
function assertReadable(text: string, tokens: number): void {
  const characters = tokens * CHARACTERS_A_TOKEN;
  if (text.length > characters) throw limitExceeded("characters", characters, text.length);
  const lexer = new Lexer(new Source(text));
  let depth = 0;
  for (let read = 0; lexer.advance().kind !== TokenKind.EOF; read += 1) {
    if (read === tokens || lexer.token.line > tokens) throw limitExceeded("tokens", tokens);
    depth += DEEPER[lexer.token.kind] ?? 0;
    if (depth > NESTING) throw limitExceeded("nesting", NESTING);
  }
}

const DEEPER: Readonly<Partial<Record<TokenKind, number>>> = {
  [TokenKind.BRACE_L]: 1,
  [TokenKind.BRACKET_L]: 1,
  [TokenKind.PAREN_L]: 1,
  [TokenKind.BRACE_R]: -1,
  [TokenKind.BRACKET_R]: -1,
  [TokenKind.PAREN_R]: -1,
};
