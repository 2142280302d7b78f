/**
 * What this machine must have, one check each: `npm run doctor` runs all of them, a start only the quick ones.
 * A check resolves to a sentence when all is well, and throws a SetupError when it is not.
 */
import { accessSync, constants, existsSync, mkdirSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { capture } from "./child.mjs";
import { explainInstall, inspect } from "./install.mjs";
import { data, kept, pinnedNode, root } from "./place.mjs";
import { findRedisServer } from "./redis.mjs";
import { SetupError } from "./setup-error.mjs";

const GATEWAY_PORT = 4000;
const STOPPING_MS = 5_000;
const MIB = 1024 * 1024;
const INSTALL_MIB = 1_500;
const RUN_MIB = 200;
const EMBEDDED_PLATFORMS = ["linux-x64", "linux-arm64", "darwin-x64", "darwin-arm64"];

/** The folder is writable: data, logs and dependencies go there. */
export async function checkFolder() {
  try {
    accessSync(root, constants.W_OK);
    mkdirSync(data, { recursive: true });
    const probe = join(data, `.probe-${process.pid}`);
    writeFileSync(probe, "");
    rmSync(probe);
    return root;
  } catch {
    throw new SetupError(
      "E_FOLDER_READ_ONLY",
      `${root} cannot be written to.`,
      "Make it writable for you, or use a copy that is.",
    );
  }
}

/** There is enough space for a run's data, and in the checkout for dependencies that are not installed yet. */
export async function checkDisk() {
  const free = assertFree(existing(kept()), RUN_MIB);
  if (inspect() !== "ready") assertFree(root, INSTALL_MIB);
  return `${free} MiB free`;
}

function assertFree(folder, needed) {
  const { bavail, bsize } = statfsSync(folder);
  const free = Math.floor((bavail * bsize) / MIB);
  if (free >= needed) return free;
  throw new SetupError(
    "E_DISK_FULL",
    `Only ${free} MiB are free in ${folder}; ${needed} MiB are needed.`,
    "Free some space and run this again.",
  );
}

/** The folder, or its nearest existing parent, which is on the same disk. */
function existing(folder) {
  return existsSync(folder) ? folder : existing(dirname(folder));
}

/** The gateway's port (`PORT`, else 4000) is free. */
export async function checkPort(port = Number(process.env.PORT || GATEWAY_PORT)) {
  if (!Number.isInteger(port) || port < 0 || port > 65_535)
    throw new SetupError(
      "E_ENV_INVALID",
      `PORT is ${process.env.PORT}, which is no port.`,
      "Set it to a number up to 65535, or to 0, which takes a free one.",
    );
  const deadline = performance.now() + STOPPING_MS;
  let cause = await tryPort(port);
  // Wait for a Continuo that is just stopping, after its terminal was closed.
  while (cause?.code === "EADDRINUSE" && performance.now() < deadline && (await isStopping(port))) {
    await delay(100);
    cause = await tryPort(port);
  }
  if (cause === undefined) return port === 0 ? "any free port" : `${port} is free`;
  if (!["EADDRINUSE", "EACCES"].includes(cause.code))
    throw new SetupError(
      "E_ENV_INVALID",
      `HOST is ${process.env.HOST}, which is no address of this machine (${cause.code}).`,
      "Unset it, or set it to 127.0.0.1, or to 0.0.0.0, which is all addresses of this machine.",
    );
  if (cause.code === "EACCES")
    throw new SetupError(
      "E_PORT_BUSY",
      `Port ${port} is not yours to use.`,
      "Use one above 1023: PORT=0 npm start takes a free one.",
    );
  const fix = "Stop the program that holds it, or run: PORT=0 npm start (any free port).";
  throw new SetupError(
    "E_PORT_BUSY",
    `Port ${port} is busy: ${(await isContinuo(port)) ? "Continuo runs there already" : "another program holds it"}.`,
    fix,
  );
}

/** Resolves to the error, or to undefined when the port is free. */
function tryPort(port) {
  return new Promise((resolve) => {
    const server = createServer()
      .once("error", resolve)
      .listen(port, process.env.HOST || "127.0.0.1", () => server.close(() => resolve(undefined)));
  });
}

async function isStopping(port) {
  return fetch(`http://127.0.0.1:${port}/ready`, { signal: AbortSignal.timeout(500) }).then(
    async (answer) => (await answer.text()).includes('"drain"'),
    () => false,
  );
}

async function isContinuo(port) {
  return fetch(`http://127.0.0.1:${port}/live`, { signal: AbortSignal.timeout(500) }).then(
    async (answer) => answer.ok && (await answer.text()).includes('"live"'),
    () => false,
  );
}

async function checkNode() {
  if (inspect() !== "ready") return `${process.versions.node} installs, 24 from npm will run`;
  const { output } = await capture(pinnedNode, ["--version"]);
  return `${process.versions.node} installs, ${output.trim().slice(1)} runs`;
}

async function checkRegistry() {
  const { code, output } = await capture("npm", ["view", "pnpm", "version", "--fetch-retries=0"]);
  if (code === 0) return "reachable";
  if (inspect() === "ready") return "not reachable, and not needed: everything is installed";
  throw explainInstall(output);
}

export async function checkDatabase() {
  const url = process.env.DATABASE_URL;
  if (url) return `DATABASE_URL: ${placeOf(url)}`;
  const platform = `${process.platform}-${process.arch}`;
  if (EMBEDDED_PLATFORMS.includes(platform)) return `embedded, data in ${join(kept(), "postgres")}`;
  throw new SetupError(
    "E_PLATFORM",
    `There is no embedded Postgres for ${platform}.`,
    "Set DATABASE_URL to a Postgres 18 server of your own.",
  );
}

async function checkRedis() {
  const url = process.env.REDIS_URL;
  if (url) return `REDIS_URL: ${url.split(",").map(placeOf).join(", ")}`;
  const forTests = findRedisServer() ?? "none found, their Redis half would be skipped";
  return `not used: Postgres carries pokes and jobs (tests: ${forTests})`;
}

/** Host and path of a URL, without user and password. */
function placeOf(url) {
  if (!URL.canParse(url)) return "not a URL";
  const { host, pathname } = new URL(url);
  return `${host}${pathname}`;
}

async function checkDependencies() {
  const state = inspect();
  return state === "ready" ? "installed" : `${state}: the next command installs them`;
}

/** Name and check, in the order of the doctor's table. */
export const CHECKS = [
  ["node", checkNode],
  ["folder", checkFolder],
  ["disk", checkDisk],
  ["npm registry", checkRegistry],
  ["dependencies", checkDependencies],
  ["gateway port", checkPort],
  ["postgres", checkDatabase],
  ["redis", checkRedis],
];

/** The checks that a start runs first: they take milliseconds, and no network. */
export const BEFORE_START = [checkFolder, checkDisk, checkPort, checkDatabase];
