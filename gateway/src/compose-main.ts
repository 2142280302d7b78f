/** Writes gateway/supergraph.graphql, and each subgraph's services/<name>/api.graphql. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { composedFiles, CompositionError, loadSubgraphs } from "./compose.ts";

const ROOT = join(import.meta.dirname, "../..");

try {
  const { supergraph, apis } = composedFiles(loadSubgraphs(join(ROOT, "services")));
  for (const { path, text } of [supergraph, ...apis]) {
    writeFileSync(join(ROOT, path), text);
    console.log(`${path} is written.`);
  }
} catch (cause) {
  if (!(cause instanceof CompositionError)) throw cause;
  console.error(`${cause.code}: the subgraphs do not compose.\n${cause.message}`);
  process.exitCode = 1;
}
