/** Where things are in this checkout. */
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

export const root = dirname(dirname(fileURLToPath(import.meta.url)));
export const modules = join(root, "node_modules");
export const bin = join(modules, ".bin");
/** The Node that everything runs on, pinned in pnpm-workspace.yaml. */
export const pinnedNode = join(bin, "node");
/** What a run leaves behind: data, logs, results. */
export const data = join(root, ".data");
/** Where persistent data is kept: `DATA_DIRECTORY`, or else `data`. It may not exist yet. */
export const kept = () => resolve(root, process.env.DATA_DIRECTORY || data);
/** Node's compile cache: it halves the CPU time of a start. */
export const compileCache = join(data, "cache/compile");
