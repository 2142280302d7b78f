import { readFileSync } from "node:fs";
import { join } from "node:path";

/** The committed supergraph. */
export const SUPERGRAPH_FILE = join(import.meta.dirname, "../../supergraph.graphql");

/** Reads the committed supergraph. */
export function loadSupergraph(): string {
  return readFileSync(SUPERGRAPH_FILE, "utf8");
}
