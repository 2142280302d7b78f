/** `compose-main.ts` writes gateway/supergraph.graphql; with `--check` it only says whether that file is current. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { CompositionError, composeSupergraph, loadSubgraphs } from "./compose.ts";
import { SUPERGRAPH_FILE } from "./graph/supergraph-file.ts";

const SERVICES = join(import.meta.dirname, "../../services");

try {
  const composed = composeSupergraph(loadSubgraphs(SERVICES));
  if (!process.argv.includes("--check")) {
    writeFileSync(SUPERGRAPH_FILE, composed);
    console.log("gateway/supergraph.graphql is written.");
  } else if (readFileSync(SUPERGRAPH_FILE, "utf8") === composed) {
    console.log("gateway/supergraph.graphql is current.");
  } else {
    console.error("E_SUPERGRAPH_STALE: gateway/supergraph.graphql is not what the subgraphs say. Fix: npm run compose");
    process.exitCode = 1;
  }
} catch (cause) {
  if (!(cause instanceof CompositionError)) throw cause;
  console.error(`${cause.code}: the subgraphs do not compose.\n${cause.message}`);
  process.exitCode = 1;
}
