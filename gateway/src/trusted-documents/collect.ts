/**
 * Collects the operations of this repository's clients from their modules' exports. Run by developers and tests, never
 * by the gateway.
 */
import { join } from "node:path";
import { getOperationAST, GraphQLError, type GraphQLSchema, parse, validate } from "graphql";
import { hashOf, type Manifest } from "./trusted-documents.ts";

const ROOT = join(import.meta.dirname, "../../..");

/** The committed manifest. */
export const MANIFEST_FILE = join(ROOT, "gateway/trusted-documents.json");

/** The modules whose operations the committed manifest contains. */
export const OWN_MODULES = ["e2e/operations.ts", "bench/operations.ts", "gateway/src/graphiql/examples.ts"].map(
  (file) => join(ROOT, file),
);

/** The strings that `modules` export, directly or inside objects, that are valid operations of `schema`. */
export async function collectDocuments(schema: GraphQLSchema, modules: readonly string[]): Promise<Manifest> {
  const exported = await Promise.all(modules.map((path): Promise<unknown> => import(path)));
  const texts = [...new Set(exported.flatMap((module) => stringsIn(module, 3)))]
    .filter((text) => isOperation(schema, text))
    .sort();
  return Object.fromEntries(texts.map((text) => [hashOf(text), text]));
}

/** A manifest as file content. */
export function toFile(manifest: Manifest): string {
  return `${JSON.stringify(manifest, null, 2)}\n`;
}

/** A human-readable name for a document: its operation's name, or the beginning of its text. */
export function nameOf(text: string): string {
  const operation = getOperationAST(parse(text));
  if (operation?.name) return `${operation.operation} ${operation.name.value}`;
  const brief = text.replaceAll(/\s+/g, " ").trim();
  return brief.length > 60 ? `${brief.slice(0, 59)}…` : brief;
}

function stringsIn(value: unknown, depth: number): string[] {
  if (typeof value === "string") return [value];
  if (depth === 0 || typeof value !== "object" || value === null) return [];
  return Object.values(value).flatMap((inner) => stringsIn(inner, depth - 1));
}

function isOperation(schema: GraphQLSchema, text: string): boolean {
  try {
    return validate(schema, parse(text)).length === 0;
  } catch (cause) {
    if (cause instanceof GraphQLError) return false;
    throw cause;
  }
}
