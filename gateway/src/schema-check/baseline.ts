/** Reads the composed files of an earlier commit from git. */
import { spawnSync } from "node:child_process";
import { parse } from "graphql";
import { z } from "zod";
import type { SubgraphDefinition } from "../compose.ts";

export interface Baseline {
  /** The abbreviated commit hash. */
  readonly commit: string;
  readonly supergraph: string;
  readonly subgraphs: readonly SubgraphDefinition[];
  /** Texts of client documents. */
  readonly documents: readonly string[];
  /** Paths whose breaking change is accepted by a commit since then (`Accept-Breaking-Change: <path>`). */
  readonly accepted: readonly string[];
}

/** There is nothing to compare with; `message` says why. */
export class NoBaseline extends Error {
  override readonly name = "NoBaseline";
}

const GIT_WITHIN_MS = 30_000;
const MAX_FILE_BYTES = 64 * 1024 * 1024;
const Manifest = z.record(z.string(), z.string());

/**
 * Loads the baseline from `against`, by default the commit where this branch left main (on main itself, HEAD). Throws
 * NoBaseline; throws Error if `against` is not a commit.
 */
export function loadBaseline(root: string, against: string | undefined): Baseline {
  const git = (...args: readonly string[]): string | undefined => {
    const options = { cwd: root, encoding: "utf8", maxBuffer: MAX_FILE_BYTES, timeout: GIT_WITHIN_MS } as const;
    const { status, stdout } = spawnSync("git", args, options);
    return status === 0 ? stdout.trim() : undefined;
  };
  if (git("rev-parse", "--git-dir") === undefined)
    throw new NoBaseline("this folder is no git clone, or there is no git that reads it");
  const named = against && git("rev-parse", "--verify", "--quiet", `${against}^{commit}`);
  if (against !== undefined && !named) throw new Error(`--against ${against}: git knows no such commit`);
  const base = named ?? git("merge-base", "HEAD", "origin/main") ?? git("merge-base", "HEAD", "main");
  if (!base) throw new NoBaseline("this clone does not have main's history: git fetch --unshallow origin main");

  const read = (file: string): string | undefined => git("show", `${base}:./${file}`);
  const supergraph = read("gateway/supergraph.graphql");
  const apis = (git("ls-tree", "-r", "--name-only", base, "--", "services") ?? "")
    .split("\n")
    .flatMap((file) => /^services\/([^/]+)\/api\.graphql$/.exec(file)?.[1] ?? []);
  if (supergraph === undefined || apis.length === 0)
    throw new NoBaseline(`${base.slice(0, 9)} has no composed files to compare with`);
  const trailers = git("log", "--format=%(trailers:key=Accept-Breaking-Change,valueonly)", `${base}..HEAD`) ?? "";
  return {
    commit: base.slice(0, 9),
    supergraph,
    subgraphs: apis.map((name) => ({ name, typeDefs: parse(read(`services/${name}/api.graphql`) ?? "") })),
    documents: Object.values(Manifest.parse(JSON.parse(read("gateway/trusted-documents.json") ?? "{}"))),
    accepted: trailers
      .split("\n")
      .map((path) => path.trim())
      .filter(Boolean),
  };
}
