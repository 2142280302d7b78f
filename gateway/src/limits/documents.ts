/** Texts of operations, read once and found to be of a shape that may be validated and planned. */
import { type DocumentNode, Lexer, parse, Source, TokenKind } from "graphql";
import { LRUCache } from "lru-cache";
import { limitExceeded, type Limits } from "./limits.ts";
import { NESTING } from "./nesting.ts";
import { assertShape } from "./shape.ts";

export interface Documents {
  /** Throws AppError as `limitExceeded` says; GraphQLError when the text is no document. */
  read(text: string): DocumentNode;
}

/** Of a token, with the blanks and comments around it. */
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
 * Reads no further than it may: neither so long, nor so deep that the parser would run out of stack. Blank lines count, as
 * graphql goes through all lines before it for each place that an error names.
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
