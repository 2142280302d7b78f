/** Installs what only benchmarks need, when a benchmark first runs or the lock file has changed since. */
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

const room = import.meta.dirname;
/** Written last, so that an interrupted install is noticed. */
const stamp = join(room, "node_modules", ".installed");

/** Makes `node_modules` match the lock file. Throws when npm cannot. */
export async function ensureInstalled(): Promise<void> {
  const lock = createHash("sha256")
    .update(await readFile(join(room, "package-lock.json")))
    .digest("hex");
  if ((await readFile(stamp, "utf8").catch(() => "")) === lock) return;
  console.log("Installing what benchmarks need (bench/package-lock.json) …");
  const npm = spawn("npm", ["ci", "--no-audit", "--no-fund"], { cwd: room, stdio: ["ignore", "ignore", "inherit"] });
  const [code]: unknown[] = await once(npm, "exit");
  if (code !== 0) throw new Error(`npm ci in bench/ ended with ${String(code)}`);
  await writeFile(stamp, lock);
}
