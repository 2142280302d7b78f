/**
 * Dependencies: installed when missing, stale or damaged, with the exact pnpm version named here.
 * A stamp is written last, so that an interrupted install is noticed.
 */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { capture } from "./child.mjs";
import { data, modules, pinnedNode, root } from "./place.mjs";
import { SetupError } from "./setup-error.mjs";

const PNPM = "pnpm@12.21.0";
const stampFile = join(modules, ".continuo-installed.json");

/** The state of the dependencies: `ready`, or in a few words why they are not. */
export function inspect() {
  const stamp = readStamp();
  if (!stamp) return readable(modules) ? "installed only in part" : "not installed yet";
  if (stamp.lock !== lockHash()) return "older than the lock file";
  if (stamp.platform !== platform) return "made for another platform";
  if (stamp.packages !== countPackages() || !complete()) return "damaged";
  return "ready";
}

/** Installs. Throws SetupError on failure; pnpm's output is in `.data/install.log`. */
export async function install() {
  rmSync(stampFile, { force: true });
  // pnpm trusts its own records and would not check a tree that lost files.
  for (const note of [".pnpm-workspace-state-v1.json", ".modules.yaml"]) rmSync(join(modules, note), { force: true });
  await pnpmInstall();
  if (!(await works())) {
    for (const folder of [modules, ...roomModules()]) rmSync(folder, { recursive: true, force: true });
    await pnpmInstall();
  }
  if (!(await works())) {
    const fix =
      "Allow install scripts for the package `node` (npm and pnpm settings), or remove node_modules and run this again.";
    throw new SetupError("E_NODE_PINNED", "Node 24 was installed from npm and does not run here.", fix);
  }
  writeFileSync(stampFile, JSON.stringify({ lock: lockHash(), platform, packages: countPackages() }));
}

/** Installs after a package.json has changed: the lock file is updated too. */
export async function installAnew() {
  await pnpmInstall("--no-frozen-lockfile", "--prefer-offline");
  await install();
}

const platform = `${process.platform}-${process.arch}`;

async function pnpmInstall(...how) {
  const { code, output } = await capture("npx", [
    "--yes",
    PNPM,
    "install",
    ...(how.length > 0 ? how : ["--frozen-lockfile"]),
    "--config.confirmModulesPurge=false",
  ]).catch((cause) => {
    if (cause.code !== "ENOENT") throw cause;
    throw new SetupError(
      "E_NPM_MISSING",
      "npx is not on the PATH.",
      "Install npm (it comes with Node) and run this again.",
    );
  });
  mkdirSync(data, { recursive: true });
  writeFileSync(join(data, "install.log"), output);
  if (code !== 0) throw explainInstall(output);
}

/** What went wrong, according to the output of npx or pnpm. */
export function explainInstall(output) {
  if (/ERR_PNPM_OUTDATED_LOCKFILE|lockfile is not up to date/i.test(output))
    return new SetupError(
      "E_LOCK_STALE",
      "pnpm-lock.yaml does not fit the package.json files.",
      `Run: npx ${PNPM} install, and commit the lock file.`,
    );
  if (/ENOSPC|no space left/i.test(output))
    return new SetupError(
      "E_DISK_FULL",
      "The disk is full.",
      "Free 2 GB and run this again: it goes on where it stopped.",
    );
  if (/EROFS|EACCES|EPERM|read-only file system|permission denied/i.test(output))
    return new SetupError(
      "E_FOLDER_READ_ONLY",
      "The install could not write its files.",
      "Make this folder and npm's cache (npm config get cache) writable, or use a copy that is yours.",
    );
  if (
    /ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|META_FETCH_FAIL|network|certificate/i.test(
      output,
    )
  )
    return new SetupError(
      "E_REGISTRY_UNREACHABLE",
      "The npm registry cannot be reached.",
      "Check the network, the proxy and `npm config get registry`, then run this again.",
    );
  const last =
    output
      .trim()
      .split("\n")
      .findLast((line) => /ERR|rror/.test(line))
      ?.trim() ?? "it did not say why";
  return new SetupError(
    "E_INSTALL_FAILED",
    `The dependencies could not be installed: ${last}`,
    "Read .data/install.log, or remove node_modules and run this again.",
  );
}

function readStamp() {
  try {
    return JSON.parse(readFileSync(stampFile, "utf8"));
  } catch {
    return undefined;
  }
}

/** Changes when anything that an install depends on changes. */
export function lockHash() {
  const hash = createHash("sha256");
  for (const file of ["pnpm-lock.yaml", "pnpm-workspace.yaml"]) hash.update(readFileSync(join(root, file)));
  return hash.digest("hex");
}

function countPackages() {
  return readable(join(modules, ".pnpm")) ?? 0;
}

function readable(folder) {
  try {
    return readdirSync(folder).length;
  } catch {
    return undefined;
  }
}

/**
 * Whether the pinned Node is complete (npm's package has a short stand-in until its install script has run), and every
 * room has its links.
 */
function complete() {
  const node = statSync(pinnedNode, { throwIfNoEntry: false });
  return node !== undefined && node.size > 1_000_000 && roomModules().every((folder) => readable(folder) !== undefined);
}

async function works() {
  if (!complete()) return false;
  return capture(pinnedNode, ["--version"]).then(
    ({ code }) => code === 0,
    () => false,
  );
}

/** The `node_modules` of each room of the workspace that declares dependencies. */
function roomModules() {
  return rooms().flatMap((room) => {
    const { dependencies, devDependencies } = JSON.parse(readFileSync(join(root, room, "package.json"), "utf8"));
    return Object.keys({ ...dependencies, ...devDependencies }).length > 0 ? [join(root, room, "node_modules")] : [];
  });
}

/** The folders that pnpm-workspace.yaml lists. */
function rooms() {
  const [, list = ""] =
    /^packages:\n((?: +- .*\n)+)/m.exec(readFileSync(join(root, "pnpm-workspace.yaml"), "utf8")) ?? [];
  const patterns = [...list.matchAll(/- "?([\w/*-]+)/g)].map(([, pattern]) => pattern);
  return patterns
    .flatMap((pattern) => {
      if (!pattern.endsWith("/*")) return [pattern];
      const parent = pattern.slice(0, -2);
      return readdirSync(join(root, parent)).map((name) => join(parent, name));
    })
    .filter((room) => existsSync(join(root, room, "package.json")));
}
