import { type DocumentNode, print } from "graphql";
import { LRUCache } from "lru-cache";

const MAX_DOCUMENTS = 1_000;
const MAX_CHARACTERS = 4 * 1024 * 1024;

type Make<Made> = (document: DocumentNode, operationName: string | undefined) => Made;

/** An operation, identified by its document and, if that has several, its name. */
export interface KnownOperation {
  readonly text: string;
  readonly name: string | undefined;
}

/** Returns the cached result, or makes it. */
export interface PerDocument<Made> {
  (document: DocumentNode, operationName: string | undefined): Made;
  /** The cached operations, most recently used first. */
  known(): readonly KnownOperation[];
}

/**
 * Caches what `make` returns for an operation, by the document's printed text; at most the 1,000 documents used last.
 */
export function perDocument<Made>(make: Make<Made>): PerDocument<Made> {
  // `Documents` returns the same node for a text for as long as it caches it.
  const texts = new WeakMap<DocumentNode, string>();
  const made = new LRUCache<string, Map<string | undefined, Made>>({
    max: MAX_DOCUMENTS,
    maxSize: MAX_CHARACTERS,
    sizeCalculation: (_made, text) => text.length,
  });

  function textOf(document: DocumentNode): string {
    const known = texts.get(document);
    if (known !== undefined) return known;
    const text = print(document);
    texts.set(document, text);
    return text;
  }

  function get(document: DocumentNode, operationName: string | undefined): Made {
    const text = textOf(document);
    const operations = made.get(text) ?? new Map<string | undefined, Made>();
    const known = operations.get(operationName);
    if (known !== undefined) return known;
    const fresh = make(document, operationName);
    operations.set(operationName, fresh);
    made.set(text, operations);
    return fresh;
  }

  return Object.assign(get, {
    known: () =>
      [...made.entries()].flatMap(([text, operations]) => [...operations.keys()].map((name) => ({ text, name }))),
  });
}
