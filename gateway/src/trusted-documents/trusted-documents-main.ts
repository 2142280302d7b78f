/**
 * `trusted-documents-main.ts <manifest> <module>…` writes the manifest of the operations that modules of clients export,
 * as strings or in objects.
 */
import { writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { Supergraph } from "@apollo/federation-internals";
import { GraphQLError, parse, validate } from "graphql";
import { loadSupergraph } from "../graph/supergraph-file.ts";
import { hashOf } from "./trusted-documents.ts";

const [file = "trusted-documents.json", ...modules] = process.argv.slice(2);
const schema = Supergraph.build(loadSupergraph()).apiSchema().toGraphQLJSSchema();
const exported = await Promise.all(modules.map((path): Promise<unknown> => import(resolve(path))));
const texts = [...new Set(exported.flatMap((module) => stringsIn(module, 3)))].filter(isOperation).sort();
writeFileSync(file, `${JSON.stringify(Object.fromEntries(texts.map((text) => [hashOf(text), text])), null, 2)}\n`);
console.log(`${file} is written: ${texts.length} documents.`);

function stringsIn(value: unknown, depth: number): string[] {
  if (typeof value === "string") return [value];
  if (depth === 0 || typeof value !== "object" || value === null) return [];
  return Object.values(value).flatMap((inner) => stringsIn(inner, depth - 1));
}

function isOperation(text: string): boolean {
  try {
    return validate(schema, parse(text)).length === 0;
  } catch (cause) {
    if (cause instanceof GraphQLError) return false;
    throw cause;
  }
}
