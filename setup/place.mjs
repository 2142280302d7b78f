/** Where things are in this checkout. */
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = dirname(dirname(fileURLToPath(import.meta.url)));
export const modules = join(root, "node_modules");
export const bin = join(modules, ".bin");
/** The Node that everything runs on, pinned in pnpm-workspace.yaml. */
export const pinnedNode = join(bin, "node");
/** What a run leaves behind: data, logs, results. */
export const data = join(root, ".data");
/** Node's own cache of compiled code: it halves the processor time of a start. */
export const compileCache = join(data, "cache/compile");
