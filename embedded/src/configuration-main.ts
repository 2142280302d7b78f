/** Writes the table of environment variables into the README. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { withConfiguration } from "./configuration.ts";

const readme = join(import.meta.dirname, "../../README.md");
writeFileSync(readme, withConfiguration(readFileSync(readme, "utf8")));
