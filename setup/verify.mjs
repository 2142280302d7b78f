/**
 * `npm run check` (the static checks) and `npm test` (these, then every test, unless a check failed).
 * The last line of `npm test` is always `N passed, N failed`, with `, N skipped` if there are any.
 */
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { capture, childEnv, run } from "./child.mjs";
import { bin, data, pinnedNode } from "./place.mjs";
import { canInstallRedis, findRedisServer, installRedis } from "./redis.mjs";
import { SetupError } from "./setup-error.mjs";
import { phase, say } from "./terminal.mjs";

const tool = (name, ...args) => [join(bin, name), ...args];

/** Each check's name, and the command that exits with 0 when all is well. */
const STATIC = [
  { name: "formatting", command: tool("oxfmt", "--check", ".") },
  { name: "lint", command: tool("oxlint", "--deny-warnings") },
  { name: "types", command: tool("tsc", "-p", ".") },
  { name: "dead code", command: tool("knip") },
  { name: "schema", command: [pinnedNode, "gateway/src/schema-check/schema-check-main.ts"] },
];

/** Runs all checks in parallel, since most use one thread. */
export async function check() {
  const ended = await Promise.all(
    STATIC.map(async ({ name, command }) => {
      const failed = await phase(name, () => verify(command), { alone: false }).catch((cause) => cause);
      return { name, failed };
    }),
  );
  const failures = ended.filter(({ failed }) => failed !== undefined);
  for (const { name, failed } of failures) {
    if (!(failed instanceof Failed)) throw failed;
    say(`\n${failed.output.trim()}\n\n${name} failed: ${failed.command}`);
  }
  return failures.length === 0 ? 0 : 1;
}

class Failed extends Error {
  constructor(command, output) {
    super(command);
    this.command = command;
    this.output = output;
  }
}

async function verify([program, ...args]) {
  const { code, output } = await capture(program, args);
  if (code !== 0) throw new Failed(`${program.split("/").at(-1)} ${args.join(" ")}`, output);
}

/** Runs everything; with arguments, skips the checks and passes the arguments to vitest. */
export async function test(args) {
  if (args.length === 0 && (await check()) !== 0) {
    say("\nNo test was run.\n0 passed, 1 failed");
    return 1;
  }
  const redis = await findRedis();
  const results = join(data, "test-results.json");
  mkdirSync(data, { recursive: true });
  rmSync(results, { force: true });
  const code = await run(
    tool("vitest")[0],
    ["run", "--reporter=default", "--reporter=json", `--outputFile.json=${results}`, ...args],
    {
      env: childEnv(redis),
    },
  );
  const { passed, failed, skipped } = readResults(results, code);
  if (skipped > 0)
    say(
      `\n${skipped} tests were skipped${Object.keys(redis).length === 0 && !findRedisServer() ? ": there was no Redis" : ""}.`,
    );
  say(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`);
  return code === 0 && failed > 0 ? 1 : code;
}

/** The environment that tells the tests where Redis is. Throws E_REDIS_MISSING in CI, where nobody would read a warning. */
async function findRedis() {
  const given = process.env.TEST_REDIS_URL || process.env.REDIS_URL;
  if (given) return { TEST_REDIS_URL: given };
  if (!findRedisServer() && canInstallRedis()) await phase("redis-server, by apt-get", installRedis);
  if (findRedisServer()) return {};
  const fix = "Put redis-server on PATH, or set TEST_REDIS_URL.";
  if (process.env.CI)
    throw new SetupError("E_REDIS_MISSING", "There is no Redis, and this run may not skip what needs one.", fix);
  say(`\n  !! NO REDIS HERE: the tests that need one are SKIPPED. ${fix} !!\n`);
  return {};
}

/**
 * Counts of a run; one that failed without a failed test (a file that does not load, an error outside tests) counts as
 * one failure.
 */
export function readResults(file, code) {
  let results;
  try {
    results = JSON.parse(readFileSync(file, "utf8"));
  } catch {
    return { passed: 0, failed: 1, skipped: 0 };
  }
  const { numPassedTests: passed, numFailedTests, numPendingTests, numTodoTests } = results;
  return { passed, failed: numFailedTests || (code === 0 ? 0 : 1), skipped: numPendingTests + numTodoTests };
}
