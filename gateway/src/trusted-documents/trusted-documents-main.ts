/**
 * `trusted-documents-main.ts [<manifest> <module>…]` writes a manifest of the operations that client modules export, as
 * strings or in objects; without arguments, the committed manifest of our own clients.
 */
import { writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { loadSupergraph } from "../graph/supergraph-file.ts";
import { readSupergraph } from "../graph/supergraph.ts";
import { collectDocuments, MANIFEST_FILE, OWN_MODULES, toFile } from "./collect.ts";

const [file = MANIFEST_FILE, ...modules] = process.argv.slice(2);
const schema = readSupergraph(loadSupergraph()).apiSchema().toGraphQLJSSchema();
const manifest = await collectDocuments(
  schema,
  modules.length > 0 ? modules.map((module) => resolve(module)) : OWN_MODULES,
);
writeFileSync(file, toFile(manifest));
console.log(`${file} is written: ${Object.keys(manifest).length} documents.`);
